"""Headers that authenticate a request: the API key, and for JWT-enabled keys a token for the person it is about."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import jwt

from reverse_etl.errors import InvalidRow
from reverse_etl.iterable.connection import IterableConnection

RENEW_BEFORE_SECONDS = 30
MOST_CACHED_TOKENS = 10_000


class Authenticator:
    """Gives the headers for a request about one person.

    Tokens are HS256, hold exactly one of `email` and `userId`, and are cached per person until shortly before they
    expire. Source: support article "JWT-Enabled API Keys".
    """

    def __init__(self, connection: IterableConnection, *, clock: Callable[[], float] = time.time) -> None:
        self._key = connection.api_key
        self._secret = connection.jwt_secret
        self._lifetime = connection.jwt_lifetime
        self._clock = clock
        self._tokens: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    @property
    def uses_jwt(self) -> bool:
        """Whether requests carry a token beside the key."""
        return bool(self._secret)

    def headers(self, identity: Mapping[str, str]) -> dict[str, str]:
        """Return the headers; `identity` maps `email` or `userId` (or both) to the person's identifier."""
        headers = {"Api-Key": self._key}
        if self.uses_jwt:
            headers["Authorization"] = f"Bearer {self._token(_claim(identity))}"
        return headers

    def forget(self, identity: Mapping[str, str]) -> None:
        """Drop the person's cached token, because the platform refused it."""
        self._tokens.pop(_claim(identity), None)

    def _token(self, claim: tuple[str, str]) -> str:
        now = self._clock()
        token, renew_at = self._tokens.get(claim, ("", 0.0))
        if now >= renew_at:
            issued = int(now)
            name, value = claim
            token = jwt.encode(
                {name: value, "iat": issued, "exp": issued + self._lifetime}, self._secret, algorithm="HS256"
            )
            renew_at = issued + self._lifetime - min(RENEW_BEFORE_SECONDS, self._lifetime / 2)
            self._tokens[claim] = (token, renew_at)
            if len(self._tokens) > MOST_CACHED_TOKENS:
                self._tokens.popitem(last=False)
        return token


def _claim(identity: Mapping[str, str]) -> tuple[str, str]:
    for name in ("email", "userId"):
        if name in identity:
            return name, identity[name]
    raise InvalidRow("identifier_missing", "a token needs an e-mail or a user id")
