"""Customer.io as a destination of the delivery engine: all kinds of calls in one stream of batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reverse_etl.customerio.batches import BatchSender, batch_body
from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.config import CustomerIODestination
from reverse_etl.customerio.limits import BATCH_MESSAGES, LARGEST_BATCH_BYTES, Endpoint
from reverse_etl.customerio.payloads import RowRenderer
from reverse_etl.delivery.destination import Call, Pace, PackLimit, RenderedRow, Tell, Verdict

BATCHES_IN_FLIGHT = 8
"""More requests of up to 500,000 bytes only take memory: rows are read ahead for twice as many."""

LANE = PackLimit(BATCH_MESSAGES, LARGEST_BATCH_BYTES - len(batch_body([])) - BATCH_MESSAGES, lane="batch")
"""The bytes leave room for what is around and between the messages."""


class CustomerIODelivery:
    """Renders the rows of one sync and sends their messages.

    A batch holds identifies of some people and events of others. A person's event goes once the identify is confirmed:
    within a batch Customer.io promises no order.
    """

    def __init__(
        self,
        client: CustomerIOClient,
        sync_name: str,
        key: tuple[str, ...],
        mapping: CustomerIODestination,
        *,
        requests_in_flight: int,
    ) -> None:
        self._renderer = RowRenderer(sync_name, key, mapping)
        self._per_second = client.rate
        self._sender = BatchSender(client.send_batch)
        self.requests_in_flight = min(requests_in_flight, BATCHES_IN_FLIGHT)

    def render(self, row: Mapping[str, object]) -> RenderedRow:
        """Return the calls of a row; raise InvalidRow when it must not be sent."""
        return self._renderer(row)

    def pack_limit(self, kind: str) -> PackLimit:
        """Return the one lane all messages go."""
        del kind
        return LANE

    def pace(self, kind: str) -> Pace:
        """Return the one endpoint all messages go to and its rate."""
        del kind
        return Pace(Endpoint.BATCH.value, self._per_second)

    async def send(self, calls: Sequence[Call], tell: Tell) -> Sequence[Verdict]:
        """Send a pack of calls of any kind, retries included."""
        return await self._sender.send_pack([call.body for call in calls], tell)
