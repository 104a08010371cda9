"""Removing the users of rows that have left the source, as destinations of the delivery engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reverse_etl.delivery.destination import Call, Pace, PackLimit, RenderedRow, Tell, Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.verdicts import Verdicts, tell_nobody
from reverse_etl.errors import AccountRefused, AnswerUnreadable, CallRejected, DestinationError, UserNotFound
from reverse_etl.iterable.bulk import CLOSING
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import IterableRemoval, RemoveFromList
from reverse_etl.iterable.limits import (
    BULK_BODY_BYTES,
    BULK_REQUESTS_IN_FLIGHT,
    BULK_ROWS,
    LARGEST_BODY_BYTES,
    Endpoint,
)
from reverse_etl.iterable.payloads import encode, identifiers_of, identity_of

USER_DELETE = "user_delete"
LIST_UNSUBSCRIBE = "list_unsubscribe"


class DeletionDelivery:
    """Deletes users, one request each."""

    def __init__(self, client: IterableClient, mapping: IterableRemoval, *, requests_in_flight: int) -> None:
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
        return PackLimit(1, LARGEST_BODY_BYTES)

    def pace(self, kind: str) -> Pace:
        """Return the endpoint and its rate."""
        del kind
        endpoint = Endpoint.USER_DELETE if self._mapping.email else Endpoint.USER_DELETE_BY_ID
        return Pace(endpoint.value, self._client.rate(endpoint))

    async def send(self, calls: Sequence[Call], tell: Tell = tell_nobody) -> Sequence[Verdict]:
        """Delete, retries included; raise AccountRefused."""
        del tell  # a pack is one call
        return [await self._one(call) for call in calls]

    async def _one(self, call: Call) -> Verdict:
        try:
            return await self._client.delete_user(call.identity)
        except AccountRefused:
            raise
        except DestinationError as error:
            return error


class ListDelivery:
    """Takes users off a list, up to 1,000 in one request. Who is not on it, or not known, counts as taken off."""

    def __init__(
        self, client: IterableClient, mapping: IterableRemoval, action: RemoveFromList, *, requests_in_flight: int
    ) -> None:
        self._client = client
        self._mapping = mapping
        fields = {"listId": action.list_id, "channelUnsubscribe": action.unsubscribe_channel}
        self._opening = encode(fields).removesuffix(b"}") + b',"subscribers":['
        self.requests_in_flight = min(requests_in_flight, BULK_REQUESTS_IN_FLIGHT)

    def render(self, row: Mapping[str, object]) -> RenderedRow:
        """Return the one call of a row; raise InvalidRow when it names nobody."""
        identity = identity_of(row, self._mapping.email, self._mapping.user_id)
        # The endpoint takes one of the two.
        (name, value), *_ = identity.items()
        call = Call(LIST_UNSUBSCRIBE, encode({name: value}), {name: value})
        return RenderedRow(identifiers_of(identity), (call,))

    def pack_limit(self, kind: str) -> PackLimit:
        """Return 1,000 calls and just under 4 MB."""
        del kind
        return PackLimit(BULK_ROWS, BULK_BODY_BYTES)

    def pace(self, kind: str) -> Pace:
        """Return the endpoint and its rate."""
        del kind
        return Pace(Endpoint.LIST_UNSUBSCRIBE.value, self._client.rate(Endpoint.LIST_UNSUBSCRIBE))

    async def send(self, calls: Sequence[Call], tell: Tell = tell_nobody) -> Sequence[Verdict]:
        """Send a pack, retries included, in halves where it is refused as a whole; raise AccountRefused."""
        verdicts = Verdicts(len(calls), tell)
        await self._resolve(calls, range(len(calls)), verdicts)
        return verdicts.all()

    async def _resolve(self, calls: Sequence[Call], places: Sequence[int], verdicts: Verdicts) -> None:
        asked = [calls[place] for place in places]
        body = self._opening + b",".join(call.body for call in asked) + CLOSING
        try:
            answer, tries = await self._client.send_bulk(Endpoint.LIST_UNSUBSCRIBE, body)
        except AccountRefused:
            raise
        except CallRejected as refusal:
            if len(places) == 1:
                await verdicts.note({places[0]: refusal})
                return
            middle = len(places) // 2
            await self._resolve(calls, places[:middle], verdicts)
            await self._resolve(calls, places[middle:], verdicts)
        except DestinationError as failure:
            await verdicts.note(dict.fromkeys(places, failure))
        else:
            gone = Receipt(answer.answer.status, answer.answer.request_id, tries)
            settled = [_settled(verdict, gone) for verdict in answer.verdicts(asked, tries)]
            await verdicts.note(dict(zip(places, settled, strict=True)))


def _settled(verdict: Verdict | None, gone: Receipt) -> Verdict:
    if isinstance(verdict, UserNotFound):
        return gone
    return verdict or AnswerUnreadable("the answer does not say whether the row was applied", code="unreadable")
