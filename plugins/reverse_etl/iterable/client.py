"""An async client for the calls of one Iterable project; no Airflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.pacing import Paces
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.delivery.transport import Transport
from reverse_etl.errors import AuthenticationRefused, CallRejected
from reverse_etl.iterable.answers import JWT_CODES, Answer, read_answer, read_fields, refusal
from reverse_etl.iterable.auth import Authenticator
from reverse_etl.iterable.bulk_answers import BulkAnswer, read_bulk_answer
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.iterable.limits import LIMITS, Endpoint, Limit
from reverse_etl.iterable.payloads import encode

BULK_TIMEOUT_FACTOR = 6
"""A bulk request may take so many times the timeout of a single one: it carries up to 4 MB and 1,000 rows."""

BULK = frozenset({Endpoint.USER_BULK_UPDATE, Endpoint.EVENT_TRACK_BULK})


class IterableClient:
    """Sends calls under the published limits, with retries; use it as an async context manager.

        async with IterableClient(IterableConnection(api_key=...)) as client:
            receipt = await client.update_user({"email": "ada@example.com", "dataFields": {"plan_type": "pro"}})

    Every method returns a Receipt when Iterable confirmed the call and raises a DestinationError otherwise.
    `paces` keeps the rate: for this client alone, unless those of a ledger are given.
    """

    def __init__(
        self,
        connection: IterableConnection,
        *,
        retry: RetryPolicy | None = None,
        limits: Mapping[Endpoint, Limit] = LIMITS,
        paces: Paces | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._retry = retry or RetryPolicy(tries=connection.tries)
        self._clock = clock
        self._authenticator = Authenticator(connection, clock=clock)
        self._transport = Transport(
            connection,
            Answer,
            lambda answer: refusal(answer, clock).retry_after,
            paces=paces,
            patience=self._retry.patience,
        )
        self._rates = {endpoint: connection.rate(endpoint, limit.per_second) for endpoint, limit in limits.items()}
        self._timeouts = {endpoint: _timeout(connection, endpoint) for endpoint in Endpoint}
        self._accepted = False

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

    def rate(self, endpoint: Endpoint) -> float:
        """Return the requests per second the client keeps to at an endpoint."""
        return self._rates[endpoint]

    async def update_user(self, payload: Mapping[str, object]) -> Receipt:
        """Create or update one user; `payload` holds `email` or `userId` and `dataFields`."""
        return await self.send(Endpoint.USER_UPDATE, encode(payload), _identity(payload))

    async def track_event(self, payload: Mapping[str, object]) -> Receipt:
        """Track one event; give it an `id`, or a retry after a lost answer stores it twice."""
        return await self.send(Endpoint.EVENT_TRACK, encode(payload), _identity(payload))

    async def send(self, endpoint: Endpoint, body: bytes, identity: Mapping[str, str]) -> Receipt:
        """Send an encoded call about the person in `identity` (`email`, `userId` or both), with retries."""
        receipt, tries = await self._retry.run(lambda: self._attempt(endpoint, body, identity))
        return replace(receipt, tries=tries)

    async def send_bulk(self, endpoint: Endpoint, body: bytes) -> tuple[BulkAnswer, int]:
        """Send an encoded bulk request, with retries; return what its 2xx says of the rows, and the requests spent."""
        return await self._retry.run(lambda: self._attempt_bulk(endpoint, body))

    async def user_fields(self) -> dict[str, str]:
        """Return the types of the project's profile fields by name; nested ones have names with dots.

        A JWT-enabled key may not ask. Source: OpenAPI of `users/getFields`.
        """
        fields, _ = await self._retry.run(self._attempt_fields)
        return fields

    async def confirm_key(self) -> None:
        """Ask as `probe` does, with retries."""
        await self._retry.run(self.probe)

    async def probe(self) -> None:
        """Ask whether the key may write, without writing: an update without a person is refused with a 400.

        Raises the DestinationError of any other answer.
        """
        headers = self._authenticator.headers({"email": "connection.test@example.com"})
        endpoint = Endpoint.USER_UPDATE
        answer = await self._transport.post(endpoint, b"{}", headers, self._timeouts[endpoint])
        try:
            read_answer(answer, clock=self._clock)
        except CallRejected as refusal:
            if refusal.code.startswith("http_"):
                raise  # without a code of Iterable's the answer is somebody else's

    async def _attempt(self, endpoint: Endpoint, body: bytes, identity: Mapping[str, str]) -> Receipt:
        try:
            return read_answer(await self._paced(endpoint, body, identity), clock=self._clock)
        except AuthenticationRefused:
            if not self._authenticator.uses_jwt:
                raise
            return await self._attempt_with_new_token(endpoint, body, identity)

    async def _attempt_with_new_token(self, endpoint: Endpoint, body: bytes, identity: Mapping[str, str]) -> Receipt:
        self._authenticator.forget(identity)
        try:
            return read_answer(await self._paced(endpoint, body, identity), clock=self._clock)
        except AuthenticationRefused as refusal:
            if self._accepted and refusal.code in JWT_CODES:
                raise CallRejected(
                    "the token was refused for this person alone",
                    status=refusal.status,
                    code=refusal.code,
                    request_id=refusal.request_id,
                ) from None
            raise

    async def _attempt_fields(self) -> dict[str, str]:
        endpoint = Endpoint.USER_FIELDS
        pacer = self._transport.pacer(endpoint, self._rates[endpoint])
        headers = self._authenticator.headers({})
        answer = await self._transport.get(pacer, endpoint, headers, self._timeouts[endpoint])
        return read_fields(answer, clock=self._clock)

    async def _attempt_bulk(self, endpoint: Endpoint, body: bytes) -> BulkAnswer:
        return read_bulk_answer(await self._paced(endpoint, body, {}), clock=self._clock)

    async def _paced(self, endpoint: Endpoint, body: bytes, identity: Mapping[str, str]) -> Answer:
        pacer = self._transport.pacer(endpoint, self._rates[endpoint])
        headers = self._authenticator.headers(identity)
        answer = await self._transport.paced(pacer, endpoint, body, headers, self._timeouts[endpoint])
        self._accepted = self._accepted or answer.is_success
        return answer


def _timeout(connection: IterableConnection, endpoint: Endpoint) -> float:
    return connection.timeout * (BULK_TIMEOUT_FACTOR if endpoint in BULK else 1)


def _identity(payload: Mapping[str, object]) -> dict[str, str]:
    return {name: str(payload[name]) for name in ("email", "userId") if payload.get(name)}
