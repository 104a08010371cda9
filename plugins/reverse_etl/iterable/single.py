"""Sending calls one by one, each to its own endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from reverse_etl.delivery.destination import Call, Tell, Verdict
from reverse_etl.errors import AccountRefused, DestinationError
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.limits import Endpoint
from reverse_etl.iterable.payloads import EVENT_TRACK, USER_UPDATE

ENDPOINTS = {USER_UPDATE: Endpoint.USER_UPDATE, EVENT_TRACK: Endpoint.EVENT_TRACK}


class SingleSender:
    """Sends calls for one client."""

    def __init__(self, client: IterableClient) -> None:
        self._client = client

    async def send(self, calls: Sequence[Call], tell: Tell) -> None:
        """Send all calls at once and tell the verdicts as they come; raise AccountRefused, and then send no more."""
        place_of = {asyncio.ensure_future(self.send_one(call)): place for place, call in enumerate(calls)}
        sending = set(place_of)
        refused: BaseException | None = None
        try:
            while sending and refused is None:
                done, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                found = {place_of[one]: one.result() for one in done if one.exception() is None}
                refused = next(filter(None, (one.exception() for one in done)), None)
                await tell(found)
        finally:
            for one in sending:
                one.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        if refused is not None:
            raise refused

    async def send_one(self, call: Call) -> Verdict:
        """Return the verdict on one call; raise AccountRefused."""
        try:
            return await self._client.send(ENDPOINTS[call.kind], call.body, call.identity)
        except AccountRefused:
            raise
        except DestinationError as error:
            return error
