"""Posting encoded bodies to one account: session, timeouts, pace, and what is wrong when no answer comes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from reverse_etl.delivery.answers import Answer
from reverse_etl.delivery.pacing import Pacer, Paces
from reverse_etl.errors import AnswerUnreadable, ConnectionFailed, DestinationError, WrongDestination

log = logging.getLogger(__name__)

PAUSE_WITHOUT_HINT_SECONDS = 1.0

AnswerT = TypeVar("AnswerT", bound=Answer)


class Place(Protocol):
    """What the transport needs to know of a connection."""

    @property
    def base_url(self) -> str:
        """The URL that paths are appended to."""

    @property
    def account(self) -> str:
        """What the rate limits belong to, as a hash."""

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""

    @property
    def requests_in_flight(self) -> int:
        """Connections that may be open at once."""


class Transport(Generic[AnswerT]):
    """Posts for one client. `hint` reads from an answer how long the platform asks to wait.

    A 429 pauses the whole pace, unless the wait is longer than `patience` seconds: that ends the batch instead.
    """

    def __init__(
        self,
        place: Place,
        answer: Callable[[int, Mapping[str, str], bytes], AnswerT],
        hint: Callable[[AnswerT], float | None],
        *,
        paces: Paces | None = None,
        patience: float,
    ) -> None:
        self._place = place
        self._answer = answer
        self._hint = hint
        self._paces = paces or Paces()
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the session; it keeps connections alive until `close`. Raise RuntimeError when it is open."""
        if self._session is not None:
            raise RuntimeError("the client is open already; make another one, or share this one")
        self._session = aiohttp.ClientSession(
            self._place.base_url,
            connector=aiohttp.TCPConnector(limit=self._place.requests_in_flight),
            headers={"Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=None if self._place.is_loopback else proxy_for(self._place.base_url),
        )

    async def close(self) -> None:
        """Give up request slots held for later and close the connections."""
        await self._paces.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def pacer(self, budget: str, per_second: float) -> Pacer:
        """Return the pacer of a budget of the account."""
        return self._paces.of(self._place.account, budget, per_second)

    async def paced(
        self, pacer: Pacer, path: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float
    ) -> AnswerT:
        """Post when the pace allows it; slow the pace down when the platform asks for it."""
        return await self._in_pace(pacer, path, lambda: self.post(path, body, headers, timeout_seconds))

    async def get(self, pacer: Pacer, path: str, headers: Mapping[str, str], timeout_seconds: float) -> AnswerT:
        """Get in the same way."""
        return await self._in_pace(pacer, path, lambda: self._exchange("GET", path, None, headers, timeout_seconds))

    async def delete(
        self, pacer: Pacer, path: str, values: Mapping[str, str], headers: Mapping[str, str], timeout_seconds: float
    ) -> AnswerT:
        """Send a DELETE in the same way; `values` fill the places of `path`, which alone is logged."""
        filled = path.format_map({name: quote(value, safe="") for name, value in values.items()})
        url = URL(filled, encoded=True)
        return await self._in_pace(pacer, path, lambda: self._exchange("DELETE", url, None, headers, timeout_seconds))

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> AnswerT:
        """Post and return the answer, whatever its status; raise the DestinationError of a request without one."""
        return await self._exchange("POST", path, body, headers, timeout_seconds)

    async def _in_pace(self, pacer: Pacer, path: str, send: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        await pacer.take()
        answer = await send()
        log.debug("%s: HTTP %s, request id %s", path, answer.status, answer.request_id)
        if answer.status == 429:
            wait = self._hint(answer) or PAUSE_WITHOUT_HINT_SECONDS
            if wait <= self._patience:
                await pacer.pause(wait)
        return answer

    async def _exchange(
        self, method: str, path: str | URL, body: bytes | None, headers: Mapping[str, str], timeout_seconds: float
    ) -> AnswerT:
        if self._session is None:
            raise RuntimeError("the client is not open; use it as `async with client:`")
        try:
            async with self._session.request(
                method,
                path,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ) as response:
                return self._answer(response.status, response.headers, await response.read())
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise no_answer(error, is_loopback=self._place.is_loopback) from None


def proxy_for(url: str) -> str | None:
    """Return the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name for a URL.

    Where aiohttp reads them itself it reads `~/.netrc` as well, and refuses a login from there beside our key.
    """
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def no_answer(error: Exception, *, is_loopback: bool = False) -> DestinationError:
    """Return our error for a request without a whole answer. The library's text is left out: it may hold the URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return WrongDestination(
                "the host's certificate cannot be trusted; check host and region", code="certificate"
            )
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return ConnectionFailed("the proxy that the environment names lets nothing through", code="proxy")
        case aiohttp.ClientConnectorDNSError():
            return ConnectionFailed("the host's name cannot be resolved", code="host_not_found")
        case aiohttp.ClientSSLError():
            hint = "; a sandbox speaks plain http: write http:// before its host" if is_loopback else ""
            return ConnectionFailed(f"the TLS handshake failed{hint}", code="tls")
        case TimeoutError():
            return ConnectionFailed("no answer within the timeout", code="timeout")
        case aiohttp.ClientConnectorError():
            return ConnectionFailed("the host refuses connections", code="connection_refused")
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return AnswerUnreadable("the answer is cut short or is not HTTP", code="unreadable")
        case _:
            return ConnectionFailed("the connection was lost before an answer came", code="connection_lost")
