"""Sending calls one by one, each to its own endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from reverse_etl.delivery.destination import Call, Verdict
from reverse_etl.errors import AccountRefused, DestinationError
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.limits import Endpoint
from reverse_etl.iterable.payloads import EVENT_TRACK, USER_UPDATE

ENDPOINTS = {USER_UPDATE: Endpoint.USER_UPDATE, EVENT_TRACK: Endpoint.EVENT_TRACK}


class SingleSender:
    """Sends calls for one client, all that it is given at once."""

    def __init__(self, client: IterableClient) -> None:
        self._client = client

    async def send(self, calls: Sequence[Call]) -> list[Verdict]:
        """Return the verdict on each call, in their order; raise AccountRefused, and then send no more."""
        sending = [asyncio.ensure_future(self._send_one(call)) for call in calls]
        try:
            return await asyncio.gather(*sending)
        finally:
            for one in sending:
                one.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def _send_one(self, call: Call) -> Verdict:
        try:
            return await self._client.send(ENDPOINTS[call.kind], call.body, call.identity)
        except AccountRefused:
            raise
        except DestinationError as error:
            return error
