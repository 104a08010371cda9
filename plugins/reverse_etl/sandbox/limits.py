"""Rate limits as token buckets, one or more per endpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_UNITS = {1: "second", 60: "minute", 86_400: "day"}


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in so many seconds; a burst may use all of them at once."""

    requests: float
    seconds: int = 1

    @property
    def text(self) -> str:
        """Say the limit as the API's own messages do, for instance `500.0 per second`."""
        return f"{float(self.requests)} per {_UNITS.get(self.seconds, f'{self.seconds} seconds')}"


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The limit that was hit and how many seconds until the next request may pass."""

    limit: Limit
    wait_seconds: float

    @property
    def whole_seconds(self) -> int:
        """Seconds to wait, rounded up, at least 1."""
        return max(1, math.ceil(self.wait_seconds))


class _Bucket:
    __slots__ = ("filled_at", "limit", "rate", "tokens")

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self.rate = limit.requests / limit.seconds
        self.tokens = max(1.0, limit.requests)
        self.filled_at = now

    def refill(self, now: float) -> None:
        """Add what flowed in since the last look."""
        self.tokens = min(max(1.0, self.limit.requests), self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now


class Limiter:
    """Token buckets by endpoint; `clock` gives seconds."""

    def __init__(self, table: Mapping[str, tuple[Limit, ...]], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        now = clock()
        self._buckets = {endpoint: tuple(_Bucket(limit, now) for limit in limits) for endpoint, limits in table.items()}

    def take(self, endpoint: str) -> Exceeded | None:
        """Take one token from each bucket of the endpoint, or none at all and say which limit was hit."""
        buckets = self._buckets.get(endpoint)
        if not buckets:
            return None
        now = self._clock()
        for bucket in buckets:
            bucket.refill(now)
            if bucket.tokens < 1:
                return Exceeded(bucket.limit, (1 - bucket.tokens) / bucket.rate)
        for bucket in buckets:
            bucket.tokens -= 1
        return None
