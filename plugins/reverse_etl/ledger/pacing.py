"""Slots of a rate budget that all processes with the same ledger share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from reverse_etl.delivery.pacing import Pacer, Paces
from reverse_etl.ledger.budgets import Budgets
from reverse_etl.ledger.records import Lease

LEASE_SECONDS = 0.25
"""The longest lease of more than one slot: short, because what its holder does not use is lost to all."""

AHEAD_SECONDS = 0.1
"""How long before the end of a lease the next one is asked for, so that the answer is there in time."""


class LedgerClock:
    """Tells when leases begin by a clock here.

    An answer is read some time after the ledger has looked at its clock. Counted from there, a lease that is answered
    late would move into the next one, which somebody else has. Every answer says between which bounds the two clocks
    differ; the difference that was known stays while it is within them, so the quickest answers decide.
    """

    def __init__(self) -> None:
        self._ahead: float | None = None

    def begin_of(self, lease: Lease, *, asked: float, read: float) -> float:
        """Return the first moment of a lease that was given between two moments, all three by the clock here."""
        least, most = asked - lease.given, read - lease.given
        self._ahead = most if self._ahead is None else min(max(self._ahead, least), most)
        return lease.start + self._ahead


class LeasedSlots:
    """The slots of one endpoint, leased as they are needed; raises LedgerUnavailable when no lease can be had.

    A lease has as many slots as are asked for at the moment, and twice as many as the last one while all are used: who
    needs less than the rate leaves the rest of it to the others.
    """

    def __init__(
        self,
        budgets: Budgets,
        ledger_clock: LedgerClock,
        account: str,
        endpoint: str,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budgets = budgets
        self._budget = (account, endpoint)
        self._per_second = per_second
        self._per_lease = max(1, int(per_second * LEASE_SECONDS))
        self._ledger_clock = ledger_clock
        self._clock = clock
        self._size = 0
        self._asking = 0
        self._missed = False
        self._free: list[float] = []
        self._ahead: asyncio.Task[list[float]] | None = None
        self._turn = asyncio.Lock()

    async def next(self, lateness: float) -> float:
        """Return the next free moment; those more than `lateness` seconds ago were missed and are lost.

        The last one of a lease is not, however late it is: who is always answered late would never send.
        """
        self._asking += 1
        try:
            async with self._turn:
                self._lose_missed(lateness)
                if not self._free:
                    self._free = await self._renewed()
                    last = self._free[:1]
                    self._lose_missed(lateness)
                    self._free = self._free or last
                slot = self._free.pop()
                self._look_ahead()
                return slot
        finally:
            self._asking -= 1

    async def push_back(self, seconds: float) -> None:
        """Let nobody begin a lease for so long, and drop the one in hand."""
        self._free = []
        await self.close()
        await asyncio.to_thread(self._budgets.push_back, *self._budget, seconds)

    async def close(self) -> None:
        """Forget the lease that was asked for ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await asyncio.gather(ahead, return_exceptions=True)

    def _lose_missed(self, lateness: float) -> None:
        earliest = self._clock() - lateness
        while self._free and self._free[-1] < earliest:
            self._free.pop()
            self._missed = True

    def _look_ahead(self) -> None:
        uses_all = self._size == self._per_lease > 1
        if uses_all and self._ahead is None and len(self._free) <= self._per_second * AHEAD_SECONDS:
            self._ahead = asyncio.create_task(self._leased())

    async def _renewed(self) -> list[float]:
        ahead, self._ahead = self._ahead, None
        return await (ahead or self._leased())

    async def _leased(self) -> list[float]:
        """Return the slots of a new lease, the first one last."""
        grown = 1 if self._missed else 2 * self._size
        self._missed = False
        self._size = min(max(self._asking, grown, 1), self._per_lease)
        asked = self._clock()
        lease: Lease = await asyncio.to_thread(self._budgets.lease, *self._budget, self._size, self._per_second)
        begin = self._ledger_clock.begin_of(lease, asked=asked, read=self._clock())
        return [begin + number * lease.interval for number in reversed(range(lease.slots))]


def shared_paces(budgets: Budgets) -> Paces:
    """Return pacers that share the rate of an account and endpoint with all who use the same ledger."""
    ledger_clock = LedgerClock()
    return Paces(
        lambda account, endpoint, per_second: Pacer(
            per_second, slots=LeasedSlots(budgets, ledger_clock, account, endpoint, per_second)
        )
    )
