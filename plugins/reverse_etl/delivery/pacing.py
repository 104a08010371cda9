"""Keeping under a rate limit without ever hitting it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from reverse_etl.delivery.retry import Sleep
from reverse_etl.errors import ConfigurationError

LATENESS = 0.02
"""Seconds of unused time a pacer may make up for, so that a late wake-up of the event loop costs no rate."""


class Pacer:
    """Spaces requests evenly at `per_second`; a limit counted in any window is then never exceeded by bursts."""

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if per_second <= 0:
            raise ConfigurationError(f"the rate is {per_second} requests/s, expected more than 0")
        self._interval = 1.0 / per_second
        self._clock = clock
        self._sleep = sleep
        self._next_slot = clock()

    async def take(self) -> None:
        """Wait for the next slot."""
        now = self._clock()
        slot = max(self._next_slot, now - LATENESS)
        self._next_slot = slot + self._interval
        if slot > now:
            await self._sleep(slot - now)

    def pause(self, seconds: float) -> None:
        """Give out no slot for that many seconds, because the platform asked us to slow down."""
        self._next_slot = max(self._next_slot, self._clock() + seconds)
