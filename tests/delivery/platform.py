"""A destination in memory and one delivery to it, for the tests of the engine."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reverse_etl.delivery.destination import Call, Pace, PackLimit, RenderedRow, Tell, Verdict
from reverse_etl.delivery.engine import DeliveryEngine
from reverse_etl.delivery.outcomes import Receipt, RowResult
from reverse_etl.errors import (
    AccountRefused,
    DestinationError,
    InvalidRow,
)
from reverse_etl.redaction import KeyHasher

HASH = KeyHasher("a secret of some length")
Judge = Callable[[str, int], DestinationError | None]


class Platform:
    """A destination in memory: two calls per row, packed as told, and a verdict for each by call and row id."""

    def __init__(
        self,
        judge: Judge = lambda call, row_id: None,
        *,
        pause: float = 0.0,
        in_flight: int = 10,
        pack: int = 1,
        lane: str = "",
    ) -> None:
        self.lane = lane
        self.judge = judge
        self.pause = pause
        self.pack = pack
        self.requests_in_flight = in_flight
        self.requests: list[list[tuple[str, int]]] = []
        self.in_flight: Counter[str] = Counter()
        self.under_way = 0
        self.most_under_way = 0
        self.most_per_person: defaultdict[str, int] = defaultdict(int)

    @property
    def sent(self) -> list[tuple[str, int]]:
        return [call for request in self.requests for call in request]

    def render(self, row: Mapping[str, object]) -> RenderedRow:
        if row.get("invalid"):
            raise InvalidRow("email_malformed", "the e-mail is not well-formed")
        identity = {"person": str(row["person"]), "id": str(row["id"])}
        return RenderedRow(
            (identity["person"],), (Call("update", b"0123456789", identity), Call("event", b"", identity))
        )

    def pack_limit(self, kind: str) -> PackLimit:
        return PackLimit(self.pack, 1000, self.lane)

    def pace(self, kind: str) -> Pace:
        return Pace(f"/{self.lane or kind}", 10)

    async def send(self, calls: Sequence[Call], tell: Tell) -> Sequence[Verdict]:
        assert self.lane or len({call.kind for call in calls}) == 1
        assert 1 <= len(calls) <= self.pack
        people = [call.identity["person"] for call in calls]
        self.in_flight.update(people)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        for person in people:
            self.most_per_person[person] = max(self.most_per_person[person], self.in_flight[person])
        await asyncio.sleep(self.pause)
        self.in_flight.subtract(people)
        self.under_way -= 1
        self.requests.append([(call.kind, int(call.identity["id"])) for call in calls])
        verdicts = [self.judge(*call) or Receipt(200) for call in self.requests[-1]]
        for verdict in verdicts:
            if isinstance(verdict, AccountRefused):
                raise verdict
        return verdicts


def rows(count: int, **columns: Any) -> list[dict[str, object]]:
    return [{"id": number, "person": f"p{number}", **columns} for number in range(count)]


class Run:
    """One delivery with everything it left behind."""

    def __init__(self, platform: Platform, **options: Any) -> None:
        self.results: list[RowResult] = []
        self.platform = platform
        self.engine = DeliveryEngine(key=("id",), hash_key=HASH, on_result=self.results.append, **options)

    async def deliver(self, source: Iterable[Mapping[str, object]]) -> Run:
        await self.engine.deliver(iter(source), self.platform)
        return self

    def by_id(self, row_id: int) -> RowResult:
        return next(result for result in self.results if result.key == HASH((row_id,)))

    @property
    def counts(self) -> dict[str, int]:
        return {name: count for name, count in self.engine.totals.as_dict().items() if count}
