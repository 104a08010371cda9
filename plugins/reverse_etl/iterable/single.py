"""Sending calls one by one, each to its own endpoint."""

from __future__ import annotations

from reverse_etl.delivery.destination import Call, Verdict
from reverse_etl.errors import AccountRefused, DestinationError
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.limits import Endpoint
from reverse_etl.iterable.payloads import EVENT_TRACK, USER_UPDATE

ENDPOINTS = {USER_UPDATE: Endpoint.USER_UPDATE, EVENT_TRACK: Endpoint.EVENT_TRACK}


class SingleSender:
    """Sends calls for one client."""

    def __init__(self, client: IterableClient) -> None:
        self._client = client

    async def send(self, call: Call) -> Verdict:
        """Return the verdict on one call; raise AccountRefused."""
        try:
            return await self._client.send(ENDPOINTS[call.kind], call.body, call.identity)
        except AccountRefused:
            raise
        except DestinationError as error:
            return error
