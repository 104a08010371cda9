from __future__ import annotations

import io

import pytest

from devstack.screen import OUTCOMES, TaskLines, table, task_name


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(state: str, **changes: object) -> dict[str, object]:
    return {"task": "deliver", "map_index": 0, "label": "", "state": state, "error": "", **changes}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"map_index": -1}, "deliver"),
        ({"map_index": 3}, "deliver [3]"),
        ({"map_index": 3, "label": "batch 3"}, "deliver [batch 3]"),
    ],
)
def test_names_a_task_as_people_read_it(changes: dict[str, object], name: str) -> None:
    assert task_name(event("running", **changes)) == name


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        ("failed", "RunFailed: too many", "failed  RunFailed: too many"),
        ("up_for_retry", "", "failed, will be tried again"),
        ("upstream_failed", "", "not run"),
        ("skipped", "", "skipped"),
        ("success", "", "done"),
    ],
)
def test_shows_one_line_when_a_task_ends(state: str, error: str, words: str) -> None:
    out = io.StringIO()
    lines = TaskLines(out)
    lines.show(event("running"))
    lines.show(event(state, error=error))
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith(f"{words}\n")


def test_replaces_the_running_line_on_a_terminal() -> None:
    out = Terminal()
    lines = TaskLines(out)
    lines.show(event("running"))
    assert "running" in out.getvalue()
    lines.show(event("success"))
    assert "\r\x1b[K" in out.getvalue()


def test_table_has_a_column_for_each_number_and_marks_a_missing_one() -> None:
    header, numbers = table({"read": 5, "delivered": 123456789}, 1.24)
    assert header.split() == ["read", *OUTCOMES, "seconds"]
    assert numbers.split() == ["5", "123456789", "?", "?", "?", "?", "?", "1.2"]
    assert len(header) == len(numbers)
