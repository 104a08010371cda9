"""The delivery engine: many requests in flight, one person's calls in one stream, one outcome for every row."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from reverse_etl.delivery.breaker import Breaker
from reverse_etl.delivery.destination import Call, Destination, Row, Verdict
from reverse_etl.delivery.journal import Journal, Marks, NoJournal
from reverse_etl.delivery.outcomes import FAILED, UNCHANGED, CallResult, Outcome, RowResult, Totals, result_of
from reverse_etl.delivery.packing import Packer, Packers, PersonOrder, RowInFlight
from reverse_etl.delivery.plan import Plan
from reverse_etl.delivery.reading import IsBlocked, Reader, ReadRow
from reverse_etl.errors import AccountRefused, DestinationError
from reverse_etl.redaction import KeyHasher, key_of

PACKS_AHEAD = 2
"""Rows are read ahead for so many packs per request under way: one is on its way while another is filled."""

ROWS_AT_ONCE = 500
"""Rows read before the event loop gets its turn: many invalid ones in a row must not hold up answers."""


class DeliveryEngine:
    """Delivers the rows of one batch and hands the result of each to `on_result`.

    Every call is looked up in the `journal` before it is sent, and its result is there before it counts. Rows whose
    hashed key is in `withheld` are about people not to contact: they end `suppressed`, and nothing of them is rendered.
    With a `plan` every row is rendered and checked, and goes there instead of out. After `stopped`, the error another
    delivery of the run ended with, nothing is sent either, and rows that the journal does not know as delivered are
    `failed`. An engine is used once.
    `is_answered` tells at the end whether every call that was sent has its result in the journal: after an error from
    outside some may have arrived that nobody knows of.
    """

    def __init__(
        self,
        *,
        key: tuple[str, ...],
        hash_key: KeyHasher,
        on_result: Callable[[RowResult], None],
        journal: Journal | None = None,
        withheld: Collection[str] = frozenset(),
        plan: Plan | None = None,
        stopped: DestinationError | None = None,
    ) -> None:
        self._key = key
        self._hash_key = hash_key
        self._on_result = on_result
        self._journal = journal or NoJournal()
        self._withheld = withheld
        self._plan = plan
        self._people = PersonOrder()
        self._held_back: set[str] = set()
        self._breaker = Breaker(stopped)
        self._refused: dict[CallResult, Marks] = {}
        self._under_way: dict[int, RowInFlight] = {}
        self._reader: Reader | None = None
        self._largest_pack = 0
        self._read_ahead = 1
        self._all_read = False
        self._over = False
        self.is_answered = True
        self._sending: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self.totals = Totals()

    async def deliver(
        self, source: Iterator[Row], destination: Destination, is_blocked: IsBlocked | None = None, account: str = ""
    ) -> None:
        """Deliver all rows to `destination`; every one has a result in `totals` and in `on_result` at the end.

        A row for which `is_blocked` holds ends `suppressed` with the code `forgotten_here`, and is not sent. A call
        equals one the journal knows only where that went to the same `account`, the hash of which may be given.
        Raise AccountRefused when the platform refuses the account, DestinationUnavailable when it fails too often in
        a row; rows not sent by then have the outcome `failed` with the code `not_sent`. Raise at once what the journal
        raises: then some rows may have no result, and `abandon` gives them one.
        """
        self._destination = destination
        self._hash_key = self._hash_key.for_account(account)
        self._packers = Packers(destination.pack_limit)
        reader = self._reader = Reader(
            source,
            destination.render,
            key=self._key,
            hash_key=self._hash_key,
            journal=self._journal,
            withheld=self._withheld,
            is_blocked=is_blocked,
        )
        self.is_answered = False
        try:
            while True:
                await self._read(reader)
                await self._mark_refused()
                self._launch()
                if self._wants_rows:
                    await asyncio.sleep(0)
                elif not self._sending:
                    break
                else:
                    await self._changed.wait()
                self._changed.clear()
                await self._settle()
        finally:
            for task in self._sending:
                task.cancel()
        self.is_answered = True
        if self._breaker.stopped is not None:
            raise self._breaker.stopped.with_traceback(None)

    def abandon(self, rows: Iterator[Row]) -> None:
        """Give a result to every row that has none, after `deliver` was cut short from outside.

        `rows` is the iterator that was being delivered. What is under way may or may not have arrived.
        """
        for interrupted in list(self._under_way.values()):
            self._finish(RowResult(interrupted.key, Outcome.FAILED, "interrupted", tuple(interrupted.results)))
        self._over = True
        if self._reader is not None:
            for left in self._reader.rest():
                self._admit(self._reader, left)
        for row in rows:
            self._finish(RowResult(self._hash_key(key_of(row, self._key)), Outcome.FAILED, "not_sent"))

    async def _settle(self) -> None:
        """Forget the requests that are done; a bug in one of them ends the delivery."""
        done = {task for task in self._sending if task.done()}
        self._sending -= done
        for task in done:
            await task

    # --- Rows in ----------------------------------------------------------------------------------------------

    async def _read(self, reader: Reader) -> None:
        for _ in range(ROWS_AT_ONCE):
            if not self._wants_rows:
                return
            row = reader.take()
            if row is None and await reader.look_ahead():
                row = reader.take()
            if row is None:
                self._all_read = True
                return
            self._admit(reader, row)

    @property
    def _wants_rows(self) -> bool:
        has_room = len(self._under_way) < self._read_ahead or self._breaker.stopped is not None
        return has_room and not self._all_read

    def _admit(self, reader: Reader, row: ReadRow) -> None:
        key, place, values, rendered, field = row
        if isinstance(rendered, CallResult):
            self._refuse(key, place, rendered, field)
            return
        known = reader.known(key, rendered)
        if self._plan is not None:
            self._finish(self._plan.note(key, values, rendered, known, self._destination))
            return
        admitted = RowInFlight(key, place, rendered, known)
        if known:
            admitted.pass_known()
            if admitted.is_done:
                self._finish(_without_sending(admitted))
                return
        if self._breaker.stopped or self._over:
            self._finish(RowResult(key, Outcome.FAILED, "not_sent", tuple(admitted.results)))
            return
        if self._held_back and not self._held_back.isdisjoint(rendered.identifiers):
            self._held_back.update(rendered.identifiers)
            self._finish(_held_back(key, admitted.results))
            return
        self._under_way[id(admitted)] = admitted
        if self._people.enter(admitted):
            self._queue(admitted)

    def _refuse(self, key: str, place: int, result: CallResult, field: str) -> None:
        """Finish a row before it has become calls."""
        if self._plan is None:
            self._refused.setdefault(result, Marks(result, [])).rows.append((place, key, None))
        else:
            self._plan.note_refused(key, result, field)
        self._finish(RowResult(key, result.outcome, result.code))

    async def _mark_refused(self) -> None:
        if self._refused:
            marks, self._refused = self._refused, {}
            await self._journal.mark(list(marks.values()))

    def _queue(self, row: RowInFlight) -> None:
        limit = self._packers.add(row).limit
        if limit.calls > self._largest_pack:
            self._largest_pack = limit.calls
            self._read_ahead = limit.calls * self._destination.requests_in_flight * PACKS_AHEAD

    # --- Requests out -----------------------------------------------------------------------------------------

    def _launch(self) -> None:
        """Start every pack there is room for. Later calls go first, so that rows are finished before new ones begin."""
        if self._breaker.stopped:
            self._give_up_queued()
            return
        for packer, may_be_partial in reversed(self._ready()):
            while self._has_room and (packer.is_full or (may_be_partial and len(packer))):
                task = asyncio.create_task(self._send(packer.lane, packer.take()))
                self._sending.add(task)

    def _ready(self) -> list[tuple[Packer, bool]]:
        """Return the packers, each with whether nothing more can come to it: then a pack may go although not full."""
        ready = []
        upstream = 0 if self._all_read else 1
        for packer in self._packers:
            ready.append((packer, upstream == 0 or not (self._sending or self._wants_rows)))
            upstream += len(packer) + self._in_flight[packer.lane]
        return ready

    @property
    def _has_room(self) -> bool:
        allowed = self._destination.requests_in_flight if self._breaker.has_answered else 1
        return len(self._sending) < allowed

    async def _send(self, lane: str, pack: Sequence[tuple[RowInFlight, Call]]) -> None:
        calls = [call for _, call in pack]
        told: dict[int, Verdict] = {}

        async def tell(found: Mapping[int, Verdict]) -> None:
            await self._take([pack[place] for place in found], list(found.values()))
            told.update(found)
            self._changed.set()

        self._in_flight[lane] += 1
        try:
            try:
                verdicts = await self._destination.send(calls, tell)
            except AccountRefused as error:
                verdicts = [told.get(place, error) for place in range(len(calls))]
            self._breaker.note(lane, verdicts)
            if told:
                left = [place for place in range(len(calls)) if place not in told]
                pack, verdicts = [pack[place] for place in left], [verdicts[place] for place in left]
            await self._take(pack, verdicts)
        finally:
            self._in_flight[lane] -= 1
            self._changed.set()

    async def _take(self, pack: Sequence[tuple[RowInFlight, Call]], verdicts: Sequence[Verdict]) -> None:
        """Record what became of calls, and then count it."""
        results = _results_of([call for _, call in pack], verdicts)
        await self._journal.mark(self._marks(pack, verdicts, results))
        for (row, _), result in zip(pack, results, strict=True):
            self._advance(row, result)

    def _marks(
        self, pack: Sequence[tuple[RowInFlight, Call]], verdicts: Sequence[Verdict], results: Sequence[CallResult]
    ) -> list[Marks]:
        """Return the marks of a pack; no row is to blame for a refused account."""
        fingerprint = self._hash_key.fingerprint
        marks: dict[int, Marks] = {}
        for (row, call), verdict, result in zip(pack, verdicts, results, strict=True):
            alike = marks.get(id(result))
            if alike is None:
                if isinstance(verdict, AccountRefused):
                    continue
                alike = marks[id(result)] = Marks(result, [])
            alike.rows.append((row.place, row.key, fingerprint(call.body).hex()))
        return list(marks.values())

    def _advance(self, row: RowInFlight, result: CallResult) -> None:
        row.results.append(result)
        if row.known:
            row.pass_known()
        if row.is_done:
            self._leave(row, RowResult.of_calls(row.key, row.results))
        else:
            self._queue(row)

    # --- Results ----------------------------------------------------------------------------------------------

    def _leave(self, row: RowInFlight, result: RowResult) -> None:
        """Finish a row; the rows of its person that waited go on, or are held back where it may be sent once more."""
        leaving = [(row, result)]
        while leaving:
            row, result = leaving.pop()
            del self._under_way[id(row)]
            self._finish(result)
            if result.outcome is FAILED and not self._breaker.stopped:
                self._held_back.update(row.rendered.identifiers)
            for following in self._people.leave(row):
                if self._held_back.isdisjoint(following.rendered.identifiers):
                    self._queue(following)
                else:
                    leaving.append((following, _held_back(following.key, following.results)))

    def _give_up_queued(self) -> None:
        while queued := [row for packer in self._packers for row in packer.drain()]:
            for row in queued:
                self._leave(row, RowResult(row.key, Outcome.FAILED, "not_sent", tuple(row.results)))

    def _finish(self, result: RowResult) -> None:
        self.totals.add(result)
        self._on_result(result)


def _without_sending(row: RowInFlight) -> RowResult:
    """Return the result of a row all of whose calls were known; where none had to be sent, it lists none."""
    result = RowResult.of_calls(row.key, row.results)
    return result._replace(calls=()) if result.outcome is UNCHANGED else result


def _held_back(key: str, results: Sequence[CallResult]) -> RowResult:
    """Return the result of a row that must not overtake an earlier one of its person, which a retry sends again."""
    return RowResult(key, Outcome.FAILED, "earlier_row_failed", tuple(results))


def _results_of(calls: Sequence[Call], verdicts: Sequence[Verdict]) -> list[CallResult]:
    """Return the result of each verdict; most calls of a pack share one, and equal ones are the same."""
    made: dict[tuple[str, int], CallResult] = {}
    equal: dict[CallResult, CallResult] = {}
    results = []
    for call, verdict in zip(calls, verdicts, strict=True):
        same = (call.kind, id(verdict))
        result = made.get(same)
        if result is None:
            result = result_of(call.kind, verdict)
            result = made[same] = equal.setdefault(result, result)
        results.append(result)
    return results
