"""The client for notebooks and scripts: the same methods, each waiting for its answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.customerio.events import SemanticEvent
from reverse_etl.customerio.messages import Common, Message, User, Values
from reverse_etl.delivery.destination import Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.delivery.waiting import WaitingClient


class CustomerIO(WaitingClient):
    """A client without `await`, for notebooks and scripts.

        customerio = CustomerIO("the API key", host="http://127.0.0.1:8081")
        customerio.identify("4711", {"plan": "pro"})

    It runs its own event loop in a thread, so it works where one runs already, as in Jupyter. Settings are those of
    CustomerIOConnection. Every call waits for its answer, so nothing is lost at the end; `close`, or leaving a `with`
    block, ends the thread.
    """

    def __init__(self, api_key: str, *, retry: RetryPolicy | None = None, **settings: Any) -> None:  # noqa: ANN401 # the connection checks them
        connection = CustomerIOConnection(api_key, **settings)
        self._client = CustomerIOClient(connection, retry=retry)
        super().__init__("customerio", self._client)

    def identify(self, user: User = None, traits: Values | None = None, **common: Unpack[Common]) -> Receipt:
        """Create or update a person."""
        return self._wait(self._client.identify(user, traits, **common))

    def track(
        self, user: User, event: str | SemanticEvent, properties: Values | None = None, **common: Unpack[Common]
    ) -> Receipt:
        """Record an event, by its name or as a semantic event."""
        return self._wait(self._client.track(user, event, properties, **common))

    def group(
        self, group_id: str | int, user: User = None, traits: Values | None = None, **common: Unpack[Common]
    ) -> Receipt:
        """Create or update an object and, when a person is given, the relationship to it."""
        return self._wait(self._client.group(group_id, user, traits, **common))

    def page(
        self,
        user: User,
        name: str | None = None,
        properties: Values | None = None,
        *,
        category: str | None = None,
        **common: Unpack[Common],
    ) -> Receipt:
        """Record the view of a page."""
        return self._wait(self._client.page(user, name, properties, category=category, **common))

    def screen(
        self,
        user: User,
        name: str | None = None,
        properties: Values | None = None,
        *,
        category: str | None = None,
        **common: Unpack[Common],
    ) -> Receipt:
        """Record the view of an app's screen."""
        return self._wait(self._client.screen(user, name, properties, category=category, **common))

    def alias(self, user: str | int, previous: str | int, **common: Unpack[Common]) -> Receipt:
        """Fold the identifier `previous` into the one of `user`, which is kept."""
        return self._wait(self._client.alias(user, previous, **common))

    def batch(self, batch: Iterable[Message]) -> list[Verdict]:
        """Send messages made by the functions of `messages`; return the verdict on each, in their order."""
        here = list(batch)  # in the caller's thread: rows of SQLite come in no other, a call of this client hangs there
        return self._wait(self._client.batch(here))

    def send(self, message: Message) -> Receipt:
        """Send one message made by a function of `messages`."""
        return self._wait(self._client.send(message))
