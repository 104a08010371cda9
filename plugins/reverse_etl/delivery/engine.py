"""The delivery engine: many rows in flight, one person's calls in one stream, one outcome for every row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from reverse_etl.delivery.destination import Destination, RenderedRow
from reverse_etl.delivery.outcomes import CallResult, Outcome, RowResult, Totals, result_of
from reverse_etl.errors import AccountRefused, DestinationError, DestinationUnavailable, InvalidRow
from reverse_etl.redaction import KeyHasher, key_of

FAILED_IN_A_ROW = 50
"""Failed rows without one success between them after which the destination counts as unavailable."""

FAILED_BEFORE_FIRST_ANSWER = 3
"""The same, as long as the destination has not answered at all: rows then go out one by one."""


class DeliveryEngine:
    """Delivers the rows of one batch to `destination` and hands the result of each to `on_result`.

    At most `in_flight` rows are under way at once. `dry_run` renders and checks every row and sends nothing.
    An engine is used once.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        key: tuple[str, ...],
        hash_key: KeyHasher,
        in_flight: int,
        on_result: Callable[[RowResult], None],
        dry_run: bool = False,
    ) -> None:
        self._destination = destination
        self._key = key
        self._hash_key = hash_key
        self._slots = asyncio.Semaphore(in_flight)
        self._on_result = on_result
        self._dry_run = dry_run
        self._people = _PersonOrder()
        self._answered = False
        self._failed_in_a_row = 0
        self._stopped: DestinationError | None = None
        self.totals = Totals()

    async def deliver(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Deliver all rows; every one has a result in `totals` and in `on_result` when this returns or raises.

        Raise AccountRefused when the platform refuses the account and DestinationUnavailable when it fails too often in
        a row; rows not sent by then have the outcome `failed` with the code `not_sent`.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for row in rows:
                    await self._start(row, group)
        except ExceptionGroup as problems:
            raise problems.exceptions[0] from None
        if self._stopped is not None:
            raise self._stopped

    async def _start(self, row: Mapping[str, object], group: asyncio.TaskGroup) -> None:
        key = key_of(row, self._key)
        hashed = self._hash_key(key)
        if self._stopped is not None:
            self._finish(RowResult(hashed, Outcome.FAILED, "not_sent"))
            return
        try:
            if None in key:
                raise InvalidRow("key_missing", "a key column is NULL")
            rendered = self._destination.render(row)
        except InvalidRow as problem:
            self._finish(RowResult(hashed, Outcome.INVALID, problem.code))
            return
        if self._dry_run:
            self._finish(RowResult(hashed, Outcome.PLANNED, "dry_run"))
            return
        await self._slots.acquire()
        sending = group.create_task(self._send_row(hashed, rendered))
        if not self._answered:
            await asyncio.wait([sending])

    async def _send_row(self, hashed: str, rendered: RenderedRow) -> None:
        try:
            async with self._people.turn(rendered.person):
                if self._stopped is None:
                    self._finish(RowResult.of_calls(hashed, await self._send_calls(rendered)))
                else:
                    self._finish(RowResult(hashed, Outcome.FAILED, "not_sent"))
        finally:
            self._slots.release()

    async def _send_calls(self, rendered: RenderedRow) -> list[CallResult]:
        results: list[CallResult] = []
        for call in rendered.calls:
            try:
                results.append(result_of(call.kind, await self._destination.send(call)))
            except DestinationError as error:
                results.append(result_of(call.kind, error))
                self._note_failure(error)
                break
            self._note_answer()
        return results

    def _note_answer(self) -> None:
        self._answered = True
        self._failed_in_a_row = 0

    def _note_failure(self, error: DestinationError) -> None:
        if isinstance(error, AccountRefused):
            self._stopped = error
            return
        if not error.retryable:
            self._note_answer()
            return
        self._failed_in_a_row += 1
        limit = FAILED_IN_A_ROW if self._answered else FAILED_BEFORE_FIRST_ANSWER
        if self._failed_in_a_row >= limit and self._stopped is None:
            self._stopped = DestinationUnavailable(
                f"{self._failed_in_a_row} rows in a row failed, the last one with: {error.message}",
                status=error.status,
                code=error.code,
                request_id=error.request_id,
            )

    def _finish(self, result: RowResult) -> None:
        self.totals.add(result)
        self._on_result(result)


class _PersonOrder:
    """Lets the rows of one person through one after the other, in the order they came."""

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def turn(self, person: str) -> AsyncIterator[None]:
        before = self._last.get(person)
        done = self._last[person] = asyncio.Event()
        try:
            if before is not None:
                await before.wait()
            yield
        finally:
            done.set()
            if self._last[person] is done:
                del self._last[person]
