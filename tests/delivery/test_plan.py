"""What a dry run finds out: why rows would be sent, and what it would cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import pytest

from reverse_etl.delivery.destination import Row
from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.delivery.plan import SAMPLES_OF_A_REASON, Earlier, Known, Plan, Reason, as_removal, merged
from reverse_etl.errors import InvalidRow
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.mapping import Constant, Field, Kind
from reverse_etl.mapping_text import from_text, to_text
from reverse_etl.redaction import without_values
from tests.delivery.platform import HASH, Run
from tests.delivery.test_engine_changed import BEFORE, EVENT, UPDATE, Remembering, Versioned, rows


def plan(journal: Remembering, *, sends_all: bool = False, earlier: Iterable[Earlier] = ()) -> Plan:
    def state(key: str, call: str) -> Known | None:
        if (key, call) not in journal.before:
            return None
        mark = journal.before[key, call]
        return Known(mark.hex() if mark else None, mark is not None)

    return Plan(sends_all, HASH, state, list(earlier))


async def planned(
    after: Iterable[Row], *, before: Iterable[Row] = BEFORE, platform: Versioned | None = None, **options: Any
) -> tuple[Run, Plan]:
    memory = Remembering()
    await Run(Versioned(), journal=memory).deliver(before)
    journal = memory.next_run()
    made = plan(journal, **options)
    run = await Run(platform or Versioned(), journal=journal, plan=made).deliver(after)
    assert run.platform.requests == []
    assert journal.marks == []
    return run, made


def counts(made: Plan) -> dict[Reason, int]:
    return {reason: count for reason, count in made.reasons.items() if count}


async def test_rows_are_planned_by_why_they_would_be_sent() -> None:
    after = [
        *rows((1, "Ada L.", "pricing"), (2, "Bob", "docs"), (3, "Cy", "jobs")),
        {**rows((4, "", ""))[0], "invalid": 1},
    ]
    run, made = await planned(after)
    assert run.counts == {"planned": 2, "unchanged": 1, "invalid": 1}
    assert counts(made) == {Reason.CHANGED: 1, Reason.NEW: 1}
    assert run.by_id(3).code == "new"


async def test_a_run_that_sends_all_says_which_rows_are_as_before() -> None:
    run, made = await planned(rows((1, "Ada L.", "pricing"), (2, "Bob", "docs")), sends_all=True)
    assert run.counts == {"planned": 2}
    assert counts(made) == {Reason.CHANGED: 1, Reason.AS_BEFORE: 1}
    assert made.as_dict()["requests"]["/event"]["calls"] == 2


async def test_a_new_event_of_a_known_person_is_a_change() -> None:
    _, made = await planned(rows((1, "Ada", "settings")))
    assert counts(made) == {Reason.CHANGED: 1}
    assert made.as_dict()["requests"] == {"/event": {"requests": 1, "calls": 1, "per_second": 10}}
    (sample,) = made.samples
    assert [(call["call"], call["reason"]) for call in sample["calls"]] == [(UPDATE, "unchanged"), (EVENT, "changed")]


async def test_a_call_whose_last_try_did_not_arrive_is_in_doubt() -> None:
    memory = Remembering()
    await Run(Versioned(), journal=memory).deliver(BEFORE)
    journal = memory.next_run()
    journal.before[HASH((1,)), UPDATE] = None
    made = plan(journal)
    run = await Run(Versioned(), journal=journal, plan=made).deliver(BEFORE)
    assert run.counts == {"planned": 1, "unchanged": 1}
    assert counts(made) == {Reason.IN_DOUBT: 1}


async def test_rows_that_only_the_mapping_changed_are_told_from_those_that_changed() -> None:
    class More(Versioned):
        def render(self, row: Mapping[str, object]) -> Any:
            rendered = super().render(row)
            update, event = rendered.calls
            return rendered._replace(calls=(update._replace(body=b"[%s]" % update.body), event))

    old = Earlier(Versioned().render, frozenset({"name"}))
    after = rows((1, "Ada", "pricing"), (2, "Bob L.", "docs"), (3, "Cy", "jobs"))
    run, made = await planned(after, platform=More(), earlier=[old])
    assert run.counts == {"planned": 3}
    assert counts(made) == {Reason.CHANGED_MAPPING: 1, Reason.CHANGED: 1, Reason.NEW: 1}


@pytest.mark.parametrize("earlier", ["needs a column that is gone", "refuses the row"])
async def test_a_mapping_that_cannot_render_the_row_explains_nothing(earlier: str) -> None:
    def refuse(row: Row) -> Any:
        raise InvalidRow("no", "no")

    old = Earlier(refuse, frozenset({"gone"} if "gone" in earlier else ()))
    _, made = await planned(rows((1, "Ada L.", "pricing")), earlier=[old])
    assert counts(made) == {Reason.CHANGED: 1}


@pytest.mark.parametrize(("count", "requests"), [(1, 1), (10, 1), (11, 2), (25, 3)])
async def test_requests_are_counted_as_calls_are_packed(count: int, requests: int) -> None:
    new = rows(*((number, "x", "y") for number in range(100, 100 + count)))
    _, made = await planned(new, platform=Versioned(pack=10))
    assert {path: here["requests"] for path, here in made.as_dict()["requests"].items()} == {
        "/update": requests,
        "/event": requests,
    }


async def test_calls_that_share_a_lane_share_requests() -> None:
    new = rows(*((number, "x", "y") for number in range(100, 110)))
    _, made = await planned(new, platform=Versioned(pack=100, lane="batch"))
    assert made.as_dict()["requests"] == {"/batch": {"requests": 1, "calls": 20, "per_second": 10}}


async def test_a_few_rows_of_each_reason_are_shown_without_a_value_of_theirs() -> None:
    class Json(Versioned):
        def render(self, row: Mapping[str, object]) -> Any:
            rendered = super().render(row)
            body = b'{"email": "ada@example.com", "eventName": "page_view", "fields": {"name": "Ada", "n": [1, 2]}}'
            return rendered._replace(calls=tuple(call._replace(body=body) for call in rendered.calls))

    _, made = await planned(rows(*((n, "Ada", "y") for n in range(100, 120))), platform=Json())
    assert len(made.samples) == SAMPLES_OF_A_REASON
    assert "Ada" not in str(made.samples)
    assert "ada" not in str(made.samples)
    payload = made.samples[0]["calls"][1]["payload"]
    assert payload == {"email": "<text>", "eventName": "page_view", "fields": {"name": "<text>", "n": "<list>"}}


def test_the_batches_of_a_run_are_added_up() -> None:
    cost = {"requests": 30, "calls": 60, "per_second": 0.5}
    row = {"key": "a", "reason": "new", "calls": []}
    one = {"rows": {"new": 4, "changed": 1}, "requests": {"/a": cost}, "sample": [row, row]}
    other = {"rows": {"new": 1}, "requests": {"/a": cost, "/b": {**cost, "requests": 1}}, "sample": [row, row]}
    both = merged([one, other], {"planned": 6, "unchanged": 7, "invalid": 8})
    assert both["rows"] == {
        "new": 5,
        "changed": 1,
        "changed_mapping": 0,
        "in_doubt": 0,
        "as_before": 0,
        "unchanged": 7,
        "invalid": 8,
        "suppressed": 0,
        "removed": 0,
    }
    assert both["requests"] == {"/a": {**cost, "requests": 60, "calls": 120}, "/b": {**cost, "requests": 1}}
    assert both["minutes"] == 2.0
    assert len(both["sample"]) == SAMPLES_OF_A_REASON
    assert orjson.loads(orjson.dumps(both)) == both
    assert merged([], {}) == {
        "rows": dict.fromkeys(both["rows"], 0),
        "refused": [],
        "requests": {},
        "minutes": 0.0,
        "sample": [],
        "problems": [],
    }


def test_rows_that_have_left_are_counted_apart_and_cost_requests_too() -> None:
    cost = {"requests": 3, "calls": 6, "per_second": 0.5}
    row = {"key": "a", "reason": "as_before", "calls": [{"call": "user_update", "reason": "new", "payload": {}}]}
    sent = {"rows": {"new": 4}, "requests": {"/a": cost}, "sample": []}
    found = merged(
        [sent, as_removal({"rows": {"new": 2, "as_before": 1}, "requests": {"/a": cost}, "sample": [row]})], {}
    )
    assert {name: count for name, count in found["rows"].items() if count} == {"new": 4, "removed": 3}
    assert found["requests"] == {"/a": {**cost, "requests": 6, "calls": 12}}
    call = {"call": "user_update", "reason": "removed", "payload": {}}
    assert found["sample"] == [{"key": "a", "reason": "removed", "calls": [call]}]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "<null>"),
        (True, "<boolean>"),
        (0, "<number>"),
        (1.5, "<number>"),
        ("", "<text>"),
        ("kept", "kept"),
        ([], "<list>"),
        ([{"a": 1}, "x"], "<list>"),
        ({}, {}),
        ({"fields": {"liked": {"ada@example.com": 1}}}, {"fields": {"liked": "<object>"}}),
    ],
)
def test_a_value_is_shown_by_its_kind_only(value: object, shown: object) -> None:
    assert without_values(value, keep=("kept",)) == shown


# --- Mappings as text -------------------------------------------------------------------------------------------

MAPPING = IterableDestination(
    email="email",
    user=UserUpdate(
        (Field("a"), Field("b", column="c", kind=Kind.JSON), Constant("d", True)), merge_nested_objects=True
    ),
    event=EventTrack("e", created_at="t", id_columns=("x", "y")),
)


def test_a_mapping_can_be_built_again_from_its_text() -> None:
    assert from_text(to_text(MAPPING)) == MAPPING
    assert to_text(from_text(to_text(MAPPING))) == to_text(MAPPING)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"class": "os:system"}',
        '{"class": "reverse_etl.nowhere:Field"}',
        '{"class": "reverse_etl.mapping:Nothing"}',
        '{"class": "reverse_etl.mapping:as_text"}',
        '{"class": "reverse_etl.mapping:Field", "name": " "}',
        '{"class": "reverse_etl.mapping:Field", "name": "a", "renamed": 1}',
    ],
)
def test_a_text_that_is_no_mapping_of_this_version_is_none(text: str) -> None:
    assert from_text(text) is None


async def test_a_row_refused_in_a_dry_run_is_not_marked() -> None:
    run, _ = await planned([{**rows((1, "Ada", "a"))[0], "invalid": True}])
    assert run.by_id(1).outcome is Outcome.INVALID


async def test_rows_refused_in_a_dry_run_are_counted_by_reason_with_one_of_each() -> None:
    class Particular(Versioned):
        def render(self, row: Mapping[str, object]) -> Any:
            if row["name"] != "Ada":
                raise InvalidRow("not_a_boolean", "no", str(row["name"]))
            return super().render(row)

    after = rows((1, "plan", "a"), (2, "Ada", "a"), (3, "candidate", "a"), (4, "candidate", "a"))
    _, made = await planned(after, platform=Particular())
    whole = merged([orjson.loads(orjson.dumps(made.as_dict()))] * 2, {"invalid": 6})
    assert whole["refused"] == [
        {"outcome": "invalid", "code": "not_a_boolean", "field": "candidate", "rows": 4, "sample": HASH((3,))},
        {"outcome": "invalid", "code": "not_a_boolean", "field": "plan", "rows": 2, "sample": HASH((1,))},
    ]
