"""The rate meter: requests within any three seconds, reported, and refused only when the settings say so."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from reverse_etl.sandbox.customerio.settings import PUBLISHED_RATE


class RateMeter:
    """Counts requests in a sliding window; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget all requests."""
        self._times: deque[float] = deque()
        self.busiest = 0
        self.over = 0

    def take(self, limit: int, *, enforce: bool) -> float | None:
        """Count one request; return the seconds to wait when it is over the limit and that is enforced, else None.

        A request that is refused does not fill the window.
        """
        now, times = self._clock(), self._times
        while times and times[0] <= now - PUBLISHED_RATE.seconds:
            times.popleft()
        if len(times) >= limit:
            self.over += 1
            if enforce:
                return times[len(times) - limit] + PUBLISHED_RATE.seconds - now
        times.append(now)
        self.busiest = max(self.busiest, len(times))
        return None
