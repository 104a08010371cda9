"""Iterable's privacy actions: `users/forget` and `users/unforget`. Source: support article "GDPR", OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reverse_etl.delivery.destination import Verdict
from reverse_etl.delivery.privacy import Action, DailyLimit, PersonId
from reverse_etl.emails import check_email
from reverse_etl.errors import AccountRefused, DestinationError
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.limits import FORGET_PER_DAY, Endpoint
from reverse_etl.iterable.payloads import check_user_id, encode

ENDPOINTS: Mapping[Action, Endpoint] = {Action.FORGET: Endpoint.USER_FORGET, Action.UNSUPPRESS: Endpoint.USER_UNFORGET}
"""Forgetting deletes and blocks, unforgetting lifts the block; there is no block that deletes nothing."""

REQUESTS_IN_FLIGHT = 3


class IterablePrivacy:
    """One project, asked about one person per request."""

    actions = frozenset(ENDPOINTS)
    requests_in_flight = REQUESTS_IN_FLIGHT

    def __init__(self, client: IterableClient, account: str) -> None:
        self._client = client
        self.account = account

    def daily_limit(self, action: Action) -> DailyLimit | None:
        """Return the published limit of the action's endpoint."""
        return DailyLimit(ENDPOINTS[action], FORGET_PER_DAY)

    def asked_by(self, person: PersonId) -> PersonId:
        """Return the person by e-mail where there is one, by user id otherwise."""
        return PersonId(person.email) if person.email else person

    def check(self, person: PersonId) -> None:
        """Raise InvalidRow for an identifier that is malformed."""
        if person.email:
            check_email(person.email)
        else:
            check_user_id(person.user_id)

    async def privacy(self, action: Action, people: Sequence[PersonId]) -> Sequence[Verdict]:
        """Ask for each person; raise AccountRefused."""
        return [await self._one(ENDPOINTS[action], person) for person in people]

    async def _one(self, endpoint: Endpoint, person: PersonId) -> Verdict:
        identity = {"email": person.email} if person.email else {"userId": person.user_id}
        try:
            return await self._client.send(endpoint, encode(identity), identity)
        except AccountRefused:
            raise
        except DestinationError as error:
            return error
