"""Iterable as a destination of the delivery engine: one call per request, or many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from reverse_etl.delivery.destination import Call, Pace, PackLimit, RenderedRow, Tell, Verdict
from reverse_etl.iterable.bulk import SHAPES, BulkSender
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import IterableDestination
from reverse_etl.iterable.limits import BULK_BODY_BYTES, BULK_REQUESTS_IN_FLIGHT, BULK_ROWS, LARGEST_BODY_BYTES
from reverse_etl.iterable.payloads import RowRenderer
from reverse_etl.iterable.single import ENDPOINTS, SingleSender


class IterableDelivery:
    """Renders the rows of one sync and sends their calls, one or many per request."""

    def __init__(
        self,
        client: IterableClient,
        sync_name: str,
        key: tuple[str, ...],
        mapping: IterableDestination,
        *,
        calls: Literal["bulk", "single"],
        requests_in_flight: int,
    ) -> None:
        self._client = client
        self._singly = SingleSender(client)
        self._renderer = RowRenderer(sync_name, key, mapping)
        if calls == "bulk":
            self._limit = PackLimit(BULK_ROWS, BULK_BODY_BYTES)
            self._bulk: BulkSender | None = BulkSender(client)
            self.requests_in_flight = min(requests_in_flight, BULK_REQUESTS_IN_FLIGHT)
        else:
            self._limit = PackLimit(1, LARGEST_BODY_BYTES)
            self._bulk = None
            self.requests_in_flight = requests_in_flight

    def render(self, row: Mapping[str, object]) -> RenderedRow:
        """Return the calls of a row; raise InvalidRow when it must not be sent."""
        return self._renderer(row)

    def pack_limit(self, kind: str) -> PackLimit:
        """Return 1,000 calls and just under 4 MB in bulk, one call otherwise."""
        del kind
        return self._limit

    def pace(self, kind: str) -> Pace:
        """Return the endpoint of a kind of call and its rate."""
        endpoint = SHAPES[kind].endpoint if self._limit.calls > 1 else ENDPOINTS[kind]
        return Pace(endpoint.value, self._client.rate(endpoint))

    async def send(self, calls: Sequence[Call], tell: Tell) -> Sequence[Verdict]:
        """Send a pack of calls of one kind, retries included."""
        if self._bulk is not None:
            return await self._bulk.send(calls, tell)
        return [await self._singly.send(call) for call in calls]
