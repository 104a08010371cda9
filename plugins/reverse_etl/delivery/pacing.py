"""Keeping under a rate limit without ever hitting it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from reverse_etl.delivery.retry import Sleep
from reverse_etl.errors import ConfigurationError

LATENESS = 0.1
"""Seconds of missed slots a pacer makes up for, so that a held-up event loop costs no rate; more would be a burst."""

Clock = Callable[[], float]


class Slots(Protocol):
    """Where the moments come from at which requests may leave, by the clock of the pacer, in seconds."""

    async def next(self, lateness: float) -> float:
        """Return the next free moment, which is taken by that; one more than `lateness` seconds ago is lost."""

    async def push_back(self, seconds: float) -> None:
        """Give out no moment within the next seconds."""

    async def close(self) -> None:
        """Take no more moments."""


class EvenSlots:
    """Evenly spaced moments for one process that shares its rate with nobody."""

    def __init__(self, per_second: float, *, clock: Clock = time.monotonic) -> None:
        self._interval = 1.0 / per_second
        self._clock = clock
        self._next = clock()

    async def next(self, lateness: float) -> float:
        """Return the next moment; idle time is not saved up."""
        slot = max(self._next, self._clock() - lateness)
        self._next = slot + self._interval
        return slot

    async def push_back(self, seconds: float) -> None:
        """Begin again after the pause."""
        self._next = max(self._next, self._clock() + seconds)

    async def close(self) -> None:
        """Nothing is held."""


class Pacer:
    """Lets requests through one by one, at `per_second` at most, and no more than that in any second.

    Even spacing alone is not enough: while the event loop is held up, slots pass, and their requests would all leave at
    once. A rate below 1 is kept over the longer time that one request needs. `used` counts the requests let through.
    """

    def __init__(
        self,
        per_second: float,
        *,
        slots: Slots | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if not 0 < per_second < math.inf:
            raise ConfigurationError(f"the rate is {per_second} requests/s, expected more than 0")
        self.per_second = per_second
        self.used = 0
        self._slots = slots or EvenSlots(per_second, clock=clock)
        self._window = max(1.0, 1.0 / per_second)
        self._left: deque[float] = deque(maxlen=max(1, math.ceil(per_second)))
        self._clock = clock
        self._sleep = sleep
        self._paused_until = clock()

    async def take(self) -> None:
        """Wait until a request may leave."""
        slot = await self._slots.next(LATENESS)
        now = self._clock()
        while (wait := max(slot, self._earliest(), self._paused_until) - now) > 0:
            await self._sleep(wait)
            now = self._clock()
        self._left.append(now)
        self.used += 1

    async def pause(self, seconds: float) -> None:
        """Let nothing leave for that many seconds, not even what has its slot: the platform asked us to slow down."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)
        await self._slots.push_back(seconds)

    async def close(self) -> None:
        """Give up what is held for later requests."""
        await self._slots.close()

    def _earliest(self) -> float:
        """Return when the window has room for one more request."""
        return self._left[0] + self._window if len(self._left) == self._left.maxlen else 0.0


class Paces:
    """The pacers of a delivery, by endpoint, and how much of their rates was used.

    `make` builds the pacer for an account (a hash), an endpoint and the requests/s allowed there.
    """

    def __init__(
        self, make: Callable[[str, str, float], Pacer] | None = None, *, clock: Clock = time.monotonic
    ) -> None:
        self._make = make or (lambda _account, _endpoint, per_second: Pacer(per_second))
        self._clock = clock
        self._pacers: dict[tuple[str, str], Pacer] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._seen_at = clock()

    def of(self, account: str, endpoint: str, per_second: float) -> Pacer:
        """Return the pacer of an endpoint, made when it is first asked for."""
        pacer = self._pacers.get((account, endpoint))
        if pacer is None:
            pacer = self._pacers[account, endpoint] = self._make(account, endpoint, per_second)
        return pacer

    def use(self) -> str:
        """Return the share of each rate used since the last call, such as `/api/users/update 97% of 495/s`."""
        now = self._clock()
        seconds = max(now - self._seen_at, 0.001)
        self._seen_at = now
        shares = []
        for (account, endpoint), pacer in self._pacers.items():
            used = pacer.used - self._seen.get((account, endpoint), 0)
            self._seen[account, endpoint] = pacer.used
            if used:
                shares.append(f"{endpoint} {used / seconds / pacer.per_second:.0%} of {pacer.per_second:g}/s")
        return ", ".join(shares)

    async def close(self) -> None:
        """Close all pacers."""
        for pacer in self._pacers.values():
            await pacer.close()
