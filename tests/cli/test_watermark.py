"""`reverse-etl watermark`: show, set, reset."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reverse_etl.incremental import Incremental, Position
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.watermarks import Reader
from tests.cli.conftest import Command

pytestmark = pytest.mark.integration

INCREMENTAL = Incremental("updated_at", "id", timedelta(minutes=10))
PLACE = Position(datetime(2026, 1, 13, 8, 0, 0, 25, tzinfo=UTC), 42)


@pytest.fixture
def at(reverse_etl: Command, tmp_path: Path) -> Callable[[], Position | None]:
    """An incremental sync beside the one of the other tests; a function that gives its watermark."""
    dags = tmp_path / "dags"
    text = (dags / "views.py").read_text().replace("name='views'", "name='changes'")
    text = text.replace("DAG('views'", "DAG('changes'").replace(
        "    destination=", "    incremental=Incremental('updated_at', 'id', timedelta(minutes=10)),\n    destination="
    )
    imports = "from datetime import timedelta\nfrom reverse_etl.incremental import Incremental\n"
    (dags / "changes.py").write_text(imports + text)

    def found() -> Position | None:
        with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
            return ledger.watermarks.position("changes", INCREMENTAL)

    return found


At = Callable[[], Position | None]
SET = ("watermark", "set", "changes", "--time")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("watermark",), "the following arguments are required"),
        (("watermark", "show", "nothing"), "no DAG has a sync named 'nothing'"),
        (("watermark", "show", "views"), "the sync views reads whole days and has no watermark"),
        (("watermark", "reset", "changes"), "there is no terminal to ask on; add --yes"),
        ((*SET, "2026-01-13", "--key", "4"), "there is no terminal to ask on; add --yes"),
        ((*SET, "yesterday", "--key", "4"), "--time is 'yesterday', expected a moment such as 2026-01-13T08:00:00"),
        (
            (*SET, "2126-01-13", "--key", "4", "--yes"),
            "--time is 2126-01-13 00:00:00 (UTC), which lies in the future",
        ),
        ((*SET, "9999-12-31T23:59:59-05:00", "--key", "4"), "--time is '9999-12-31T23:59:59-05:00', expected a moment"),
        ((*SET, "2026-01-13", "--key", "x"), "argument --key: invalid int value: 'x'"),
        ((*SET, "2026-01-13"), "the following arguments are required: --key"),
    ],
)
def test_wrong_use_changes_nothing(reverse_etl: Command, at: At, arguments: tuple[str, ...], message: str) -> None:
    answer = reverse_etl(*arguments)
    assert (answer.code, answer.out, at()) == (2, "", None)
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_a_sync_that_never_ran_has_none(reverse_etl: Command, at: At) -> None:
    expected = "changes has no watermark: its next run reads from the beginning."
    assert reverse_etl("watermark", "show", "changes").words == expected


def test_what_a_run_reached_is_shown(reverse_etl: Command, at: At, tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        reader = Reader("changes", "manual__1", "changes")
        ledger.watermarks.begin(reader, INCREMENTAL)
        ledger.watermarks.move(reader, PLACE)
    answer = reverse_etl("watermark", "show", "changes")
    assert "changes updated_at 2026-01-13 08:00:00.000025 id 42" in answer.words
    assert answer.words.endswith("manual__1")
    shown = json.loads(reverse_etl("watermark", "show", "changes", "--json").out)
    assert (shown["time"], shown["key_column"], shown["key"]) == ("2026-01-13 08:00:00.000025", "id", 42)


def test_it_is_set_in_any_time_zone_and_reset(reverse_etl: Command, at: At) -> None:
    answer = reverse_etl(*SET, "2026-01-13T10:00:00.000025+02:00", "--key", "42", "--yes")
    assert answer.words == "The next run of changes reads on after 2026-01-13 08:00:00.000025 (UTC), key 42."
    assert at() == PLACE
    # Rows of a column in local time may seem to be ahead.
    ahead = (datetime.now(UTC) + timedelta(hours=20)).isoformat()
    assert reverse_etl(*SET, ahead, "--key", "42", "--yes").code == 0
    assert reverse_etl("watermark", "reset", "changes", "--yes").code == 0
    assert at() is None
