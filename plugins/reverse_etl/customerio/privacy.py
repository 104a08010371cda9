"""Customer.io's privacy actions, which are events. Source: vendor OpenAPI of 2026."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.messages import check_identifier
from reverse_etl.customerio.semantic.people import UserDeleted, UserSuppressed, UserUnsuppressed
from reverse_etl.customerio.semantic.record import Event
from reverse_etl.delivery.destination import Verdict
from reverse_etl.delivery.privacy import Action, DailyLimit, PersonId
from reverse_etl.emails import check_email
from reverse_etl.errors import AccountRefused, DestinationError

EVENTS: Mapping[Action, type[Event]] = {
    Action.SUPPRESS: UserSuppressed,
    Action.UNSUPPRESS: UserUnsuppressed,
    Action.DELETE: UserDeleted,
    Action.FORGET: UserSuppressed,
}
"""Suppressing deletes the person and blocks the identifier, which is what forgetting means elsewhere."""

REQUESTS_IN_FLIGHT = 10


class CustomerIOPrivacy:
    """One workspace, asked about one person per request."""

    actions = frozenset(EVENTS)
    requests_in_flight = REQUESTS_IN_FLIGHT

    def __init__(self, client: CustomerIOClient, account: str) -> None:
        self._client = client
        self.account = account

    def daily_limit(self, action: Action) -> DailyLimit | None:
        """Return None: no limit is published."""
        del action
        return None

    def asked_by(self, person: PersonId) -> PersonId:
        """Return the person by user id where there is one, by e-mail otherwise."""
        return PersonId(user_id=person.user_id) if person.user_id else person

    def check(self, person: PersonId) -> None:
        """Raise InvalidRow for an identifier that is malformed.

        A workspace knows user ids and e-mails under one name: what is no e-mail would be somebody's user id.
        """
        if person.user_id:
            check_identifier("user", person.user_id)
        else:
            check_email(person.email)

    async def privacy(self, action: Action, people: Sequence[PersonId]) -> Sequence[Verdict]:
        """Ask for each person; raise AccountRefused."""
        return [await self._one(EVENTS[action](), person) for person in people]

    async def _one(self, event: Event, person: PersonId) -> Verdict:
        try:
            return await self._client.track(person.user_id or person.email, event)
        except AccountRefused:
            raise
        except DestinationError as error:
            return error
