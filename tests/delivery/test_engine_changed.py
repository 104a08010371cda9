"""Calls that equal the ones last delivered are left out, and never one that is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import pytest

from reverse_etl.delivery.destination import Call, RenderedRow
from reverse_etl.delivery.outcomes import CallResult, Outcome
from reverse_etl.delivery.reading import ROWS_LOOKED_UP_AT_ONCE
from reverse_etl.errors import AuthenticationRefused, CallFailed, CallRejected, LedgerUnavailable
from tests.delivery.platform import HASH, Platform, Run
from tests.delivery.test_engine_journal import Memory

UPDATE, EVENT = "update", "event"


class Versioned(Platform):
    """A platform whose calls say what is in the row: `name` in the update, `page` in the event."""

    def render(self, row: Mapping[str, object]) -> RenderedRow:
        (person, *more), calls = super().render(row)
        update, event = calls
        bodies = [orjson.dumps(said) for said in ([person, row.get("name")], [row["id"], row.get("page")])]
        return RenderedRow(
            (person, *more),
            (update._replace(body=bodies[0]), event._replace(body=bodies[1], name="page_view")),
        )


class Remembering(Memory):
    """A journal that compares with what was delivered in earlier runs."""

    compares = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.before: dict[tuple[str, str], bytes | None] = {}
        self.asked: list[Sequence[str]] = []

    async def look_up(self, keys: Sequence[str]) -> None:
        self.asked.append(keys)

    def settled(self, key: str, call: str, fingerprint: bytes) -> CallResult | None:
        result = super().settled(key, call, fingerprint)
        if result is None and self.before.get((key, call)) == fingerprint and key in self.asked[-1]:
            return CallResult(call, Outcome.UNCHANGED, "unchanged")
        return result

    def next_run(self) -> Remembering:
        following = Remembering()
        following.before = {**self.before}
        for mark in self.marks:
            arrived = mark.result.outcome is Outcome.DELIVERED
            following.before[mark.key, mark.result.call] = mark.fingerprint if arrived else None
        return following


def rows(*given: tuple[int, str, str] | tuple[int, str, str, str]) -> list[dict[str, object]]:
    """Rows of id, name and page; each of a person of its own unless a fourth value names one."""
    return [
        {"id": row[0], "name": row[1], "page": row[2], "person": row[3] if len(row) > 3 else f"p{row[0]}"}
        for row in given
    ]


async def second_run(
    first: Iterable[Mapping[str, object]], second: Iterable[Mapping[str, object]], platform: Platform | None = None
) -> Run:
    memory = Remembering()
    await Run(Versioned(), journal=memory).deliver(first)
    return await Run(platform or Versioned(), journal=memory.next_run()).deliver(second)


BEFORE = rows((1, "Ada", "pricing"), (2, "Bob", "docs"))


async def test_nothing_is_sent_when_nothing_changed() -> None:
    run = await second_run(BEFORE, BEFORE)
    assert run.platform.requests == []
    assert run.counts == {"unchanged": 2}
    assert (run.by_id(1).outcome, run.by_id(1).code, run.by_id(1).calls) == (Outcome.UNCHANGED, "unchanged", ())


async def test_only_what_changed_or_is_new_is_sent() -> None:
    changes = rows((1, "Ada L.", "pricing"), (2, "Bob", "docs"), (3, "Cy", "jobs"))
    run = await second_run(BEFORE, changes)
    assert sorted(run.platform.sent) == [(EVENT, 3), (UPDATE, 1), (UPDATE, 3)]
    assert run.counts == {"delivered": 2, "unchanged": 1}


async def test_a_new_event_of_an_unchanged_person_goes_alone_and_the_row_is_delivered() -> None:
    run = await second_run(BEFORE, rows((1, "Ada", "settings"), (2, "Bob", "docs")))
    assert run.platform.sent == [(EVENT, 1)]
    assert [call.outcome for call in run.by_id(1).calls] == [Outcome.UNCHANGED, Outcome.DELIVERED]
    assert run.counts == {"delivered": 1, "unchanged": 1}


async def test_an_update_that_changed_goes_before_its_new_event() -> None:
    run = await second_run(BEFORE, rows((1, "Ada L.", "settings")), Versioned(pause=0.001))
    assert run.platform.sent == [(UPDATE, 1), (EVENT, 1)]


async def test_an_event_does_not_go_when_its_changed_update_is_refused() -> None:
    refuse = CallRejected("no", status=400, code="x")
    platform = Versioned(lambda call, row_id: refuse if call == UPDATE else None)
    run = await second_run(BEFORE, rows((1, "Ada L.", "settings"), (2, "Bob L.", "docs")), platform)
    assert platform.sent == [(UPDATE, 1), (UPDATE, 2)]
    assert run.counts == {"rejected": 2}
    assert not run.by_id(2).is_partial


async def test_a_refused_event_after_an_unchanged_update_is_no_partial_delivery() -> None:
    refuse = CallRejected("no", status=400, code="x")
    run = await second_run(BEFORE, rows((1, "Ada", "settings")), Versioned(lambda call, row_id: refuse))
    assert run.by_id(1).outcome is Outcome.REJECTED
    assert (run.engine.totals.partial, run.engine.totals.without_delivery) == (0, 1)


# --- One person in several rows --------------------------------------------------------------------------------


async def test_a_persons_unchanged_row_goes_again_behind_a_row_that_changed() -> None:
    """The last row of a person is to win, as it does when all are sent."""
    before = rows((1, "Ada", "a", "ada"), (2, "Ada L.", "b", "ada"), (3, "Bob", "c", "bob"))
    after = rows((1, "Ada!", "a", "ada"), (2, "Ada L.", "b", "ada"), (3, "Bob", "c", "bob"))
    run = await second_run(before, after)
    assert run.platform.sent == [(UPDATE, 1), (UPDATE, 2)]
    assert run.counts == {"delivered": 2, "unchanged": 1}


async def test_rows_of_a_person_that_say_different_things_are_sent_from_the_second_on() -> None:
    before = rows((1, "Ada", "a", "ada"), (2, "Ada L.", "b", "ada"))
    run = await second_run(before, before)
    assert run.platform.sent == [(UPDATE, 2)]
    assert run.counts == {"delivered": 1, "unchanged": 1}


async def test_rows_of_a_person_that_say_the_same_are_left_alone() -> None:
    before = rows(*((number, "Ada", "a", "ada") for number in range(5)))
    run = await second_run(before, [*before, *rows((9, "Ada", "z", "ada"))])
    assert run.platform.sent == [(UPDATE, 9), (EVENT, 9)]


async def test_a_key_that_is_there_twice_ends_with_its_last_row() -> None:
    before = rows((1, "Ada", "a", "ada"), (1, "Ada L.", "a", "ada"))
    run = await second_run(before, before)
    assert run.platform.sent[-1] == (UPDATE, 1)
    assert run.results[-1].outcome is Outcome.DELIVERED


async def test_a_row_behind_one_that_failed_is_held_back_unless_it_says_the_same() -> None:
    before = rows((1, "Ada", "a", "ada"), (2, "Ada L.", "b", "ada"))
    platform = Versioned(lambda call, row_id: CallFailed("no", status=503, code="x") if row_id == 1 else None)
    run = await second_run(before, rows((1, "Ada!", "a", "ada"), (2, "Ada L.", "b", "ada")), platform)
    assert run.counts == {"failed": 2}
    assert run.by_id(2).code == "earlier_row_failed"


# --- How it is asked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, ROWS_LOOKED_UP_AT_ONCE, 2 * ROWS_LOOKED_UP_AT_ONCE + 1])
async def test_keys_are_looked_up_many_at_once_and_each_once(count: int) -> None:
    memory = Remembering()
    run = await Run(Versioned(in_flight=3), journal=memory).deliver(rows(*((n, "x", "y") for n in range(count))))
    assert run.counts == ({"delivered": count} if count else {})
    asked = [key for keys in memory.asked for key in keys]
    assert sorted(asked) == sorted(HASH((number,)) for number in range(count))
    assert max(map(len, memory.asked), default=0) <= ROWS_LOOKED_UP_AT_ONCE
    assert len(memory.asked) <= count // ROWS_LOOKED_UP_AT_ONCE + 2


async def test_a_ledger_that_cannot_be_asked_ends_the_delivery_with_every_row_accounted_for() -> None:
    class Gone(Remembering):
        async def look_up(self, keys: Sequence[str]) -> None:
            if self.asked:
                raise LedgerUnavailable("the ledger is gone")
            await super().look_up(keys)

    count = ROWS_LOOKED_UP_AT_ONCE + 10
    source = iter(rows(*((number, "x", "y") for number in range(count))))
    run = Run(Versioned(), journal=Gone())
    with pytest.raises(LedgerUnavailable):
        await run.engine.deliver(source, run.platform)
    run.engine.abandon(source)
    assert not run.engine.is_answered
    assert run.engine.totals.rows == count
    assert set(run.counts) <= {"delivered", "failed"}


async def test_a_delivery_that_may_not_go_on_still_tells_what_is_unchanged() -> None:
    memory = Remembering()
    await Run(Versioned(), journal=memory).deliver(BEFORE)
    run = Run(Versioned(), journal=memory.next_run(), stopped=AuthenticationRefused("no", status=401))
    with pytest.raises(AuthenticationRefused):
        await run.deliver(rows((1, "Ada", "pricing"), (2, "Bob L.", "docs")))
    assert run.counts == {"unchanged": 1, "failed": 1}
    assert run.engine.is_answered


async def test_what_an_earlier_try_delivered_stays_delivered_beside_what_is_unchanged() -> None:
    memory = Remembering()
    await Run(Versioned(), journal=memory).deliver(BEFORE)
    journal = memory.next_run()
    after = rows((1, "Ada L.", "settings"), (2, "Bob", "docs"))
    fail = Versioned(lambda call, row_id: CallFailed("no", status=503, code="x") if call == EVENT else None)
    await Run(fail, journal=journal).deliver(after)
    again = await Run(Versioned(), journal=journal).deliver(after)
    assert again.platform.sent == [(EVENT, 1)]
    assert again.counts == {"delivered": 1, "unchanged": 1}


async def test_calls_without_a_name_are_versions_of_one_thing_and_events_are_not() -> None:
    row = {"id": 1, "person": "ada", "name": "Ada", "page": "a"}
    update, event = Versioned().render(row).calls
    assert (update.name, event.name) == ("", "page_view")
    assert isinstance(update, Call)
