"""What the engine asks the journal before it sends, and tells it before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest

from reverse_etl.delivery.destination import Call, RenderedRow, Tell, Verdict
from reverse_etl.delivery.journal import WHOLE_ROW, Marks
from reverse_etl.delivery.outcomes import CallResult, Outcome, RowResult, add_up
from reverse_etl.errors import (
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    LedgerUnavailable,
    UserSuppressed,
)
from reverse_etl.ledger.records import fingerprint_of
from tests.delivery.platform import HASH, Platform, Run, rows


class Mark(NamedTuple):
    """What became of one call."""

    key: str
    result: CallResult
    fingerprint: bytes | None


class Memory:
    """A journal in memory, which may fail and keeps what it was told, in its order."""

    def __init__(self, *, fails_after: int | None = None) -> None:
        self.marks: list[Mark] = []
        self.fails_after = fails_after

    has_settled = True
    compares = False

    async def look_up(self, keys: Sequence[str]) -> None:
        raise AssertionError("nothing is compared")

    def settled(self, key: str, call: str, fingerprint: bytes) -> CallResult | None:
        for mark in self.marks:
            if (mark.key, mark.result.call, mark.fingerprint) == (key, call, fingerprint):
                return mark.result if mark.result.outcome in (Outcome.DELIVERED, Outcome.SUPPRESSED) else None
        return None

    async def mark(self, marks: Sequence[Marks]) -> None:
        await asyncio.sleep(0.001)
        if self.fails_after is not None and len(self.marks) >= self.fails_after:
            raise LedgerUnavailable("the ledger is gone")
        self.marks += [Mark(key, result, fingerprint_of(digits)) for result, rows in marks for _, key, digits in rows]

    def outcomes(self) -> dict[tuple[str, str], Outcome]:
        return {(mark.key, mark.result.call): mark.result.outcome for mark in self.marks}


async def test_a_journal_that_fails_ends_the_delivery_and_nothing_is_sent_after_it() -> None:
    platform, memory = Platform(pause=0.001, in_flight=4), Memory(fails_after=20)
    run = Run(platform, journal=memory)
    source = iter(rows(500))
    with pytest.raises(LedgerUnavailable, match="gone"):
        await run.engine.deliver(source, platform)
    run.engine.abandon(source)
    assert len(platform.sent) <= 20 + 3 * platform.requests_in_flight
    assert add_up(500, run.engine.totals.as_dict())


async def test_a_call_counts_only_when_it_is_in_the_journal() -> None:
    platform, memory = Platform(), Memory()
    run = Run(platform, journal=memory)

    def result_is_marked(result: RowResult) -> None:
        assert {(result.key, call.call) for call in result.calls} <= memory.outcomes().keys()

    run.engine._on_result = result_is_marked
    await run.deliver(rows(50))
    assert len(memory.marks) == 100


async def test_an_event_leaves_only_after_its_users_update_is_in_the_journal() -> None:
    memory = Memory()
    missing = []

    def judge(call: str, row_id: int) -> None:
        if call == "event" and (HASH((row_id,)), "update") not in memory.outcomes():
            missing.append(row_id)

    await Run(Platform(judge, pack=7), journal=memory).deliver(rows(50))
    assert missing == []


class InParts(Platform):
    """Tells of all calls of a pack but the last; that one it waits for, or the account is refused for it."""

    def __init__(self, *, refused: AuthenticationRefused | None = None) -> None:
        super().__init__(pack=10)
        self.refused = refused
        self.waits = asyncio.Event()
        self.ends = asyncio.Event()

    async def send(self, calls: Sequence[Call], tell: Tell) -> Sequence[Verdict]:
        verdicts = await super().send(calls, tell)
        if len(calls) > 1:
            await tell(dict(enumerate(verdicts[:-1])))
            if self.refused is not None:
                raise self.refused
            self.waits.set()
            await self.ends.wait()
        return verdicts


async def test_a_kill_while_a_pack_waits_for_one_call_resends_that_call_alone() -> None:
    platform, memory = InParts(), Memory()
    delivering = asyncio.create_task(Run(platform, journal=memory).deliver(rows(10)))
    await platform.waits.wait()
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    marked = memory.outcomes()
    assert {(HASH((number,)), "update") for number in range(9)} <= marked.keys()
    again = await Run(Platform(pack=10), journal=memory).deliver(rows(10))
    assert ("update", 9) in again.platform.sent
    assert len([call for call, _ in again.platform.sent if call == "update"]) == 1
    assert again.counts == {"delivered": 10}


async def test_rows_a_pack_tells_of_early_go_on_and_no_call_is_marked_twice() -> None:
    platform, memory = InParts(), Memory()
    run = Run(platform, journal=memory)
    delivering = asyncio.create_task(run.deliver(rows(25)))
    await platform.waits.wait()
    platform.ends.set()
    await delivering
    assert run.counts == {"delivered": 25}
    assert len(platform.sent) == len(set(platform.sent)) == len(memory.marks) == 50


async def test_what_a_pack_tells_before_the_account_is_refused_stays_in_the_journal() -> None:
    memory = Memory()
    run = Run(InParts(refused=AuthenticationRefused("no", status=401)), journal=memory)
    with pytest.raises(AuthenticationRefused):
        await run.deliver(rows(10))
    assert memory.outcomes() == {(HASH((number,)), "update"): Outcome.DELIVERED for number in range(9)}
    assert run.counts == {"failed": 10}
    assert [call.outcome for call in run.by_id(3).calls] == [Outcome.DELIVERED]


async def test_what_an_earlier_try_settled_is_not_sent_again_and_has_its_old_result() -> None:
    memory = Memory()
    bad = {("update", 1): CallFailed("no", status=503), ("event", 2): CallFailed("no", status=503)}
    bad[("update", 3)] = CallRejected("no", status=400, code="x")
    bad[("update", 4)] = UserSuppressed("no", status=409, code="ForgottenUserError")
    await Run(Platform(lambda call, row_id: bad.get((call, row_id))), journal=memory).deliver(rows(6))
    again = await Run(Platform(), journal=memory).deliver(rows(6))
    assert sorted(again.platform.sent) == [("event", 1), ("event", 2), ("event", 3), ("update", 1), ("update", 3)]
    assert again.counts == {"delivered": 5, "suppressed": 1}
    assert [call.outcome for call in again.by_id(0).calls] == [Outcome.DELIVERED] * 2
    assert again.by_id(4).code == "ForgottenUserError"


async def test_a_row_that_changed_since_the_earlier_try_is_sent() -> None:
    class Versions(Platform):
        def render(self, row: Mapping[str, object]) -> RenderedRow:
            rendered = super().render(row)
            return rendered._replace(calls=tuple(call._replace(body=str(row).encode()) for call in rendered.calls))

    memory = Memory()
    await Run(Versions(), journal=memory).deliver(rows(2, version=1))
    again = await Run(Versions(), journal=memory).deliver([*rows(1, version=1), {**rows(2)[1], "version": 2}])
    assert sorted(again.platform.sent) == [("event", 1), ("update", 1)]


async def test_rows_settled_earlier_stay_delivered_when_the_delivery_may_not_go_on() -> None:
    memory = Memory()
    await Run(Platform(), journal=memory).deliver(rows(3))
    refused = AuthenticationRefused("no", status=401)
    run = Run(Platform(), journal=memory, stopped=refused)
    with pytest.raises(AuthenticationRefused):
        await run.deliver(rows(5))
    assert run.counts == {"delivered": 3, "failed": 2}
    assert run.platform.sent == []


async def test_a_refused_account_is_no_rows_fault_and_not_in_the_journal() -> None:
    memory = Memory()
    with pytest.raises(AuthenticationRefused):
        await Run(
            Platform(lambda call, row_id: AuthenticationRefused("no", status=401), pack=10), journal=memory
        ).deliver(rows(50))
    assert memory.marks == []


async def test_invalid_rows_are_in_the_journal_as_whole_rows() -> None:
    memory = Memory()
    await Run(Platform(), journal=memory).deliver(rows(3, invalid=True))
    assert [(mark.result.call, mark.result.code, mark.fingerprint) for mark in memory.marks] == [
        (WHOLE_ROW, "email_malformed", None)
    ] * 3


async def test_a_settled_later_call_does_not_stand_in_for_an_earlier_one_that_is_not() -> None:
    """The mapping of the update has changed since the last try, that of the event has not."""
    memory = Memory()
    result = CallResult("event", Outcome.DELIVERED, "delivered", 200, 1)
    await memory.mark([Marks(result, [(0, HASH((0,)), HASH.fingerprint(b"").hex())])])
    platform = Platform()
    run = await Run(platform, journal=memory).deliver(rows(1))
    assert platform.sent == [("update", 0), ("event", 0)]
    assert [(call.call, call.outcome) for call in run.by_id(0).calls] == [
        ("update", Outcome.DELIVERED),
        ("event", Outcome.DELIVERED),
    ]
