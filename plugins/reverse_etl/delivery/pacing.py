"""Keeping under a rate limit without ever hitting it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from reverse_etl.delivery.retry import Sleep
from reverse_etl.errors import ConfigurationError

LATENESS = 0.1
"""Seconds of missed slots a pacer makes up for, so that a held-up event loop costs no rate; more would be a burst."""


class Pacer:
    """Spaces requests evenly at `per_second`, and lets no more than that through in any second.

    Even spacing alone is not enough: while the event loop is held up, slots pass, and their requests would all leave at
    once. A rate below 1 is kept over the longer time that one request needs.
    """

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
        most = max(1, math.ceil(per_second))
        self._window = max(1.0, self._interval)
        self._left: deque[float] = deque(maxlen=most)
        self._clock = clock
        self._sleep = sleep
        self._next_slot = clock()
        self._paused_until = self._next_slot

    async def take(self) -> None:
        """Wait until a request may leave."""
        now = self._clock()
        slot = max(self._next_slot, now - LATENESS)
        self._next_slot = slot + self._interval
        while (wait := max(slot, self._earliest(), self._paused_until) - now) > 0:
            await self._sleep(wait)
            now = self._clock()
        self._left.append(now)

    def pause(self, seconds: float) -> None:
        """Let nothing leave for that many seconds, not even what has its slot: the platform asked us to slow down."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)
        self._next_slot = max(self._next_slot, self._paused_until)

    def _earliest(self) -> float:
        """Return when the window has room for one more request."""
        return self._left[0] + self._window if len(self._left) == self._left.maxlen else 0.0
