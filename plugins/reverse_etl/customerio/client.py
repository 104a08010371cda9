"""An async client for the Data Pipelines API of one Customer.io workspace; no Airflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Self, Unpack

from reverse_etl.customerio import messages
from reverse_etl.customerio.answers import read_answer
from reverse_etl.customerio.auth import authorization
from reverse_etl.customerio.batches import BatchSender, batch_body
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.customerio.events import SemanticEvent
from reverse_etl.customerio.limits import BUDGET, Endpoint
from reverse_etl.customerio.messages import Common, Message, User, Values
from reverse_etl.delivery.answers import Answer, retry_after
from reverse_etl.delivery.destination import Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.pacing import Paces
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.delivery.transport import Transport
from reverse_etl.errors import AuthenticationRefused, ConfigurationError

BATCH_TIMEOUT_FACTOR = 3
"""A batch may take so many times the timeout of a single message: it carries up to 500,000 bytes."""

PUBLIC_KEY = "the API key was refused; it is a public one (pk_) for browsers and apps, use a private one (sk_)"


class CustomerIOClient:
    """Sends messages under the published limits, with retries; use it as an async context manager.

        async with CustomerIOClient(CustomerIOConnection(api_key=...)) as client:
            await client.identify("4711", {"email": "ada@example.com", "plan": "pro"})
            await client.track("4711", "report_opened", {"report": "churn"})

    Every method returns a Receipt when Customer.io confirmed the message, and raises InvalidRow before anything is
    sent or a DestinationError otherwise. What `identify`, `track` and the others take is explained in `messages`.
    Strict mode is always on: without it a wrong key or a malformed message is answered with a 200 and lost. `paces`
    keeps the rate: for this client alone, unless those of a ledger are given.
    """

    def __init__(
        self,
        connection: CustomerIOConnection,
        *,
        retry: RetryPolicy | None = None,
        paces: Paces | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._retry = retry or RetryPolicy(tries=connection.tries)
        self._clock = clock
        self._headers = {"Authorization": authorization(connection.api_key), "X-Strict-Mode": "1"}
        self._transport = Transport(
            connection, Answer, lambda answer: retry_after(answer, clock), paces=paces, patience=self._retry.patience
        )
        self._pacer = self._transport.pacer(BUDGET, connection.rate)

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.close()

    @property
    def rate(self) -> float:
        """The requests per second the client keeps to."""
        return self._connection.rate

    async def identify(self, user: User = None, traits: Values | None = None, **common: Unpack[Common]) -> Receipt:
        """Create or update a person."""
        return await self.send(messages.identify(user, traits, **common))

    async def track(
        self, user: User, event: str | SemanticEvent, properties: Values | None = None, **common: Unpack[Common]
    ) -> Receipt:
        """Record an event, by its name or as a semantic event."""
        return await self.send(messages.track(user, event, properties, **common))

    async def group(
        self, group_id: str | int, user: User = None, traits: Values | None = None, **common: Unpack[Common]
    ) -> Receipt:
        """Create or update an object and, when a person is given, the relationship to it."""
        return await self.send(messages.group(group_id, user, traits, **common))

    async def page(
        self,
        user: User,
        name: str | None = None,
        properties: Values | None = None,
        *,
        category: str | None = None,
        **common: Unpack[Common],
    ) -> Receipt:
        """Record the view of a page."""
        return await self.send(messages.page(user, name, properties, category=category, **common))

    async def screen(
        self,
        user: User,
        name: str | None = None,
        properties: Values | None = None,
        *,
        category: str | None = None,
        **common: Unpack[Common],
    ) -> Receipt:
        """Record the view of an app's screen."""
        return await self.send(messages.screen(user, name, properties, category=category, **common))

    async def alias(self, user: str | int, previous: str | int, **common: Unpack[Common]) -> Receipt:
        """Fold the identifier `previous` into the one of `user`, which is kept."""
        return await self.send(messages.alias(user, previous, **common))

    async def batch(self, batch: Iterable[Message]) -> list[Verdict]:
        """Send messages in as few requests as their sizes allow, one request after another, so that order is kept.

        Return the verdict on each, in their order. A refused message costs only itself. Of messages with the same
        `message_id` the first is sent; another with the same content shares its verdict, one with other content is
        rejected. Raise AccountRefused when no message can succeed; sending all again then doubles nothing.
        """
        return await BatchSender(self.send_batch).send_all([_checked(message) for message in batch])

    async def send(self, message: Message) -> Receipt:
        """Send one message to the endpoint of its type, with retries."""
        return await self._post(Endpoint[_checked(message).type.name], message.body, self._connection.timeout)

    async def send_batch(self, body: bytes) -> Receipt:
        """Send an encoded batch in one request, with retries."""
        return await self._post(Endpoint.BATCH, body, self._connection.timeout * BATCH_TIMEOUT_FACTOR)

    async def confirm_key(self) -> None:
        """Ask as `probe` does, with retries."""
        await self._retry.run(self.probe)

    async def probe(self) -> None:
        """Ask whether the key may send, without writing: an empty batch, once.

        Raise the DestinationError of its answer; a CallRejected means that the key was taken and the batch was not.
        """
        await self._attempt(Endpoint.BATCH, batch_body([]), self._connection.timeout)

    async def _post(self, endpoint: Endpoint, body: bytes, timeout_seconds: float) -> Receipt:
        receipt, tries = await self._retry.run(lambda: self._attempt(endpoint, body, timeout_seconds))
        return replace(receipt, tries=tries)

    async def _attempt(self, endpoint: Endpoint, body: bytes, timeout_seconds: float) -> Receipt:
        answer = await self._transport.paced(self._pacer, str(endpoint), body, self._headers, timeout_seconds)
        try:
            return read_answer(answer, clock=self._clock)
        except AuthenticationRefused as refusal:
            if self._connection.has_public_key:
                refusal.message = PUBLIC_KEY
            raise


def _checked(message: object) -> Message:
    if not isinstance(message, Message):
        raise ConfigurationError(
            f"a message is a {type(message).__name__}, expected one made by a function of customerio.messages"
        )
    return message
