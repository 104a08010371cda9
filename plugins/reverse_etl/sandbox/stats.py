"""What the server counts about the requests it gets."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable


class Stats:
    """Requests by endpoint and status, requests in flight, busiest second, overlaps of one person's requests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_flight = 0
        self._people: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget all counts; requests now in flight stay counted as in flight."""
        self._requests: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._windows: defaultdict[str, deque[float]] = defaultdict(deque)
        self._busiest: dict[str, int] = {}
        self._max_in_flight = self._in_flight
        self._person_overlaps = 0
        self._bulk_rows: Counter[str] = Counter()

    def begin(self, endpoint: str, people: tuple[str, ...], rows: int = 0) -> None:
        """Count a request that arrived; `people` are the identifiers it is about, each once, `rows` those in bulk."""
        now = self._clock()
        window = self._windows[endpoint]
        window.append(now)
        while window[0] <= now - 1:
            window.popleft()
        if len(window) > self._busiest.get(endpoint, 0):
            self._busiest[endpoint] = len(window)
        if rows:
            self._bulk_rows[endpoint] += rows
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        self._person_overlaps += not self._people.keys().isdisjoint(people)
        self._people.update(people)

    def end(self, endpoint: str, people: tuple[str, ...], verdict: str) -> None:
        """Count a request that is over; `verdict` is its status, or the name of the fault that left it unanswered."""
        self._requests[endpoint][verdict] += 1
        self._in_flight -= 1
        for person in people:
            others = self._people.pop(person) - 1
            if others:
                self._people[person] = others

    def as_dict(self) -> dict[str, object]:
        """Return the counts as JSON-ready values."""
        return {
            "requests": {endpoint: dict(counts) for endpoint, counts in self._requests.items()},
            "requests_total": sum(counts.total() for counts in self._requests.values()),
            "throttled": sum(counts["429"] for counts in self._requests.values()),
            "in_flight": self._in_flight,
            "max_in_flight": self._max_in_flight,
            "max_in_one_second": dict(self._busiest),
            "person_overlaps": self._person_overlaps,
            "bulk_rows": dict(self._bulk_rows),
        }
