"""An async client for the calls of one Iterable project; no Airflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

import aiohttp

from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.pacing import Paces
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.errors import (
    AnswerUnreadable,
    AuthenticationRefused,
    CallRejected,
    ConnectionFailed,
    DestinationError,
    WrongDestination,
)
from reverse_etl.iterable.answers import JWT_CODES, Answer, read_answer, refusal
from reverse_etl.iterable.auth import Authenticator
from reverse_etl.iterable.bulk_answers import BulkAnswer, read_bulk_answer
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.iterable.limits import LIMITS, Endpoint, Limit
from reverse_etl.iterable.payloads import encode

log = logging.getLogger(__name__)

PAUSE_WITHOUT_HINT_SECONDS = 1.0

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
        self._paces = paces or Paces()
        self._rates = {endpoint: connection.rate(endpoint, limit.per_second) for endpoint, limit in limits.items()}
        self._timeouts = {
            endpoint: aiohttp.ClientTimeout(total=_timeout(connection, endpoint)) for endpoint in Endpoint
        }
        self._accepted = False
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._connection.base_url,
            connector=aiohttp.TCPConnector(limit=self._connection.requests_in_flight),
            headers={"Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=not self._connection.is_loopback,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._paces.close()
        if self._session is not None:
            await self._session.close()

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

    async def probe(self) -> None:
        """Ask whether the key may write, without writing: an update without a person is refused with a 400.

        Raises the DestinationError of any other answer.
        """
        answer = await self._post(Endpoint.USER_UPDATE, b"{}", {"email": "connection.test@example.com"})
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

    async def _attempt_bulk(self, endpoint: Endpoint, body: bytes) -> BulkAnswer:
        return read_bulk_answer(await self._paced(endpoint, body, {}), clock=self._clock)

    async def _paced(self, endpoint: Endpoint, body: bytes, identity: Mapping[str, str]) -> Answer:
        pacer = self._paces.of(self._connection.account, endpoint, self._rates[endpoint])
        await pacer.take()
        answer = await self._post(endpoint, body, identity)
        log.debug("%s: HTTP %s, request id %s", endpoint, answer.status, answer.request_id)
        self._accepted = self._accepted or answer.is_success
        if answer.status == 429:
            hint = refusal(answer, self._clock).retry_after
            wait = PAUSE_WITHOUT_HINT_SECONDS if hint is None else hint
            if wait <= self._retry.patience:  # a longer one ends the batch instead
                await pacer.pause(wait)
        return answer

    async def _post(self, endpoint: Endpoint, body: bytes, identity: Mapping[str, str]) -> Answer:
        if self._session is None:
            raise RuntimeError("the client is not open; use it as `async with IterableClient(...) as client`")
        try:
            async with self._session.post(
                str(endpoint),
                data=body,
                headers=self._authenticator.headers(identity),
                allow_redirects=False,
                timeout=self._timeouts[endpoint],
            ) as response:
                return Answer(response.status, response.headers, await response.read())
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _no_answer(error) from None


def _timeout(connection: IterableConnection, endpoint: Endpoint) -> float:
    return connection.timeout * (BULK_TIMEOUT_FACTOR if endpoint in BULK else 1)


def _no_answer(error: Exception) -> DestinationError:
    """Return our error for a request without a whole answer. The library's text is left out: it may hold the URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return WrongDestination(
                "the host's certificate cannot be trusted; check host and region", code="certificate"
            )
        case aiohttp.ClientConnectorDNSError():
            return ConnectionFailed("the host's name cannot be resolved", code="host_not_found")
        case aiohttp.ClientSSLError():
            return ConnectionFailed("the TLS handshake failed", code="tls")
        case TimeoutError():
            return ConnectionFailed("no answer within the timeout", code="timeout")
        case aiohttp.ClientConnectorError():
            return ConnectionFailed("the host refuses connections", code="connection_refused")
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return AnswerUnreadable("the answer is cut short or is not HTTP", code="unreadable")
        case _:
            return ConnectionFailed("the connection was lost before an answer came", code="connection_lost")


def _identity(payload: Mapping[str, object]) -> dict[str, str]:
    return {name: str(payload[name]) for name in ("email", "userId") if payload.get(name)}
