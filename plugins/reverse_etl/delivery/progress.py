"""A line in the log now and then, so that whoever watches a task knows it is alive and when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts rows and calls `say` with a line at most every 10 seconds, with what `budget` tells of the rate limits.

    The rate is that since the first row was done: until then the ledger may have had to catch up, or nothing answered.
    """

    def __init__(
        self,
        rows: int,
        say: Callable[[str], None],
        budget: Callable[[], str] = str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows = rows
        self._say = say
        self._budget = budget
        self._clock = clock
        self._started = self._first = self._said = clock()
        self._done = 0

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    def step(self) -> None:
        """Count one row."""
        self._done += 1
        now = self._clock()
        if now - self._said < SECONDS_BETWEEN_LINES and self._done > 1:
            return
        self._said = now
        if self._done == 1:
            self._first = now
            if self.seconds >= SECONDS_BETWEEN_LINES:
                self._say(f"1 of {self._rows:,} rows, the first after {self.seconds:,.0f} s, estimate follows")
            return
        rate = (self._done - 1) / (now - self._first)
        left = (self._rows - self._done) / rate
        parts = [
            f"{self._done:,} of {self._rows:,} rows",
            f"{rate:,.0f} rows/s",
            self._budget(),
            f"about {left:,.0f} s left",
        ]
        self._say(", ".join(filter(None, parts)))
