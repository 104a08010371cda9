"""Deleting the users of rows that have left the source, as a destination of the delivery engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reverse_etl.delivery.destination import Call, Pace, PackLimit, RenderedRow, Verdict
from reverse_etl.errors import AccountRefused, DestinationError
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import IterableDeletion
from reverse_etl.iterable.limits import LARGEST_BODY_BYTES, Endpoint
from reverse_etl.iterable.payloads import encode, identifiers_of, identity_of

USER_DELETE = "user_delete"

SINGLE = PackLimit(1, LARGEST_BODY_BYTES)


class DeletionDelivery:
    """Sends one request per user."""

    def __init__(self, client: IterableClient, mapping: IterableDeletion, *, requests_in_flight: int) -> None:
        self._client = client
        self._mapping = mapping
        self.requests_in_flight = requests_in_flight

    def render(self, row: Mapping[str, object]) -> RenderedRow:
        """Return the one call of a row; raise InvalidRow when it names nobody."""
        identity = identity_of(row, self._mapping.email, self._mapping.user_id)
        return RenderedRow(identifiers_of(identity), (Call(USER_DELETE, encode(identity), identity),))

    def pack_limit(self, kind: str) -> PackLimit:
        """Return one call."""
        del kind
        return SINGLE

    def pace(self, kind: str) -> Pace:
        """Return the endpoint and its rate."""
        del kind
        endpoint = Endpoint.USER_DELETE if self._mapping.email else Endpoint.USER_DELETE_BY_ID
        return Pace(endpoint.value, self._client.rate(endpoint))

    async def send(self, calls: Sequence[Call]) -> Sequence[Verdict]:
        """Delete, retries included; raise AccountRefused."""
        return [await self._one(call) for call in calls]

    async def _one(self, call: Call) -> Verdict:
        try:
            return await self._client.delete_user(call.identity)
        except AccountRefused:
            raise
        except DestinationError as error:
            return error
