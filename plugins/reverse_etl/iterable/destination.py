"""Iterable as a destination of the delivery engine."""

from __future__ import annotations

from collections.abc import Mapping

from reverse_etl.delivery.destination import Call, RenderedRow
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import IterableDestination
from reverse_etl.iterable.limits import Endpoint
from reverse_etl.iterable.payloads import EVENT_TRACK, USER_UPDATE, RowRenderer

ENDPOINTS = {USER_UPDATE: Endpoint.USER_UPDATE, EVENT_TRACK: Endpoint.EVENT_TRACK}


class IterableDelivery:
    """Renders the rows of one sync and sends their calls one by one."""

    def __init__(
        self, client: IterableClient, sync_name: str, key: tuple[str, ...], mapping: IterableDestination
    ) -> None:
        self._client = client
        self._renderer = RowRenderer(sync_name, key, mapping)

    def render(self, row: Mapping[str, object]) -> RenderedRow:
        """Return the calls of a row; raise InvalidRow when it must not be sent."""
        return self._renderer(row)

    async def send(self, call: Call) -> Receipt:
        """Send one call, retries included."""
        return await self._client.send(ENDPOINTS[call.kind], call.body, call.identity)
