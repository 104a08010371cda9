"""API keys and JWTs.

Rules from Iterable's support articles "API Keys" (360043464871) and "JWT-Enabled API Keys" (360050801231). The key
is judged first, the token next, and the body only after both.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

import jwt

from reverse_etl.sandbox.exchange import RefusedError, Request
from reverse_etl.sandbox.iterable.answers import refused
from reverse_etl.sandbox.settings import ApiKey, KeyType, Settings

ANY_KEY: Final[frozenset[KeyType]] = frozenset({"server", "readonly", "javascript", "mobile", "web"})
SERVER_ONLY: Final[frozenset[KeyType]] = frozenset({"server"})
SERVER_OR_READONLY: Final[frozenset[KeyType]] = frozenset({"server", "readonly"})
SERVER_OR_CLIENT: Final[frozenset[KeyType]] = ANY_KEY - {"readonly"}

_TYPE_NAMES: Final[dict[KeyType, str]] = {
    "server": "ServerSide",
    "readonly": "ReadOnly",
    "javascript": "JavaScript",
    "mobile": "Mobile",
    "web": "Web",
}
_LONGEST_LIFE: Final = 31_536_000
_JOSE_HEADER: Final = {"alg": "HS256", "typ": "JWT"}


class Identity:
    """Whom a JWT speaks for: exactly one of the two identifiers is set."""

    __slots__ = ("email", "user_id")

    def __init__(self, email: str | None, user_id: str | None) -> None:
        self.email = email
        self.user_id = user_id


class Gate:
    """Judges the key and the token of a request."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self._keys = {key.key: key for key in settings.keys}
        self._region = settings.region
        self._jwt_status = settings.jwt_error_status
        self._now = now

    def key_of(self, request: Request, allowed: frozenset[KeyType]) -> ApiKey:
        """Return the key of the request; raises RefusedError when it opens nothing, or not this endpoint."""
        given = request.header(b"api-key", b"api_key")
        key = self._keys.get(given) if given is not None else None
        if key is None or key.region != self._region:
            raise self._bad_key(request, "Invalid API key", {})
        if key.disabled or key.type not in allowed:
            facts: dict[str, object] = {
                "apiKeyIdentifier": key_identifier(key.key),
                "apiKeyType": _TYPE_NAMES[key.type],
            }
            msg = "The API key is disabled or does not have the privileges for this endpoint"
            raise self._bad_key(request, msg, facts)
        return key

    @staticmethod
    def _bad_key(request: Request, msg: str, facts: dict[str, object]) -> RefusedError:
        return refused(401, "BadApiKey", msg, {"ip": request.client, "endpoint": request.path, **facts})

    def identity_of(self, request: Request, key: ApiKey) -> Identity | None:
        """Return whom the request's JWT speaks for, None for a key without JWT; raises RefusedError on a bad token."""
        if key.jwt_secret is None:
            return None
        authorization = request.header(b"authorization")
        if authorization is None:
            raise self._refuse(request, "BadAuthorizationHeader", "JWT Authorization header is not set")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise self._refuse(request, "BadAuthorizationHeader", "JWT format is invalid")
        return self._identity(request, self._claims(request, key.jwt_secret, token))

    def _claims(self, request: Request, secret: str, token: str) -> dict[str, Any]:
        """Return the claims of a token whose form and signature are right."""
        try:
            if jwt.get_unverified_header(token) != _JOSE_HEADER:
                raise self._refuse(request, "InvalidJwtPayload", "JWT format is invalid")
            checks: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
            claims: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"], options=checks)
        except jwt.InvalidTokenError:
            raise self._refuse(request, "InvalidJwtPayload", "JWT is invalid") from None
        return claims

    def _identity(self, request: Request, claims: dict[str, Any]) -> Identity:
        issued, expires = claims.get("iat"), claims.get("exp")
        if type(issued) is not int or type(expires) is not int:
            raise self._refuse(request, "InvalidJwtPayload", "Invalid payload")
        if expires - issued > _LONGEST_LIFE:
            raise self._refuse(request, "InvalidJwtPayload", "exp must be less than 1 year from iat")
        if expires <= self._now():
            raise self._refuse(request, "InvalidJwtPayload", "JWT token is expired")
        email, user_id = claims.get("email"), claims.get("userId")
        given = [value for value in (email, user_id) if value is not None]
        if not given:
            msg = "JWT payload requires a value for userId or email"
            raise self._refuse(request, "InvalidJwtPayload", msg)
        if len(given) > 1 or not isinstance(given[0], str):
            raise self._refuse(request, "InvalidJwtPayload", "Invalid payload")
        return Identity(None if email is None else email.lower(), user_id)

    def check_speaks_for(self, request: Request, identity: Identity, email: str | None, user_id: str | None) -> None:
        """Raise RefusedError unless the identifier of the token is the one used in the request."""
        if email is None and user_id is None:
            return
        same = identity.email == email if identity.email is not None else identity.user_id == user_id
        if not same:
            msg = "JWT user identifiers do not match the identifiers of the request"
            raise self._refuse(request, "JwtUserIdentifiersMismatched", msg)

    def _refuse(self, request: Request, code: str, msg: str) -> RefusedError:
        return refused(self._jwt_status, code, msg, {"endpoint": request.path})


def key_identifier(key: str) -> str:
    """Return the short name by which answers refer to a key without showing it."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]
