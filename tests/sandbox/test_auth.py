"""Keys and tokens: what opens the API and what does not."""

from __future__ import annotations

import time
import warnings
from typing import Any

import jwt
import pytest

from reverse_etl.sandbox.testing import DISABLED_KEY, EU_KEY, JWT_KEY, JWT_SECRET, READONLY_KEY

UPDATE = "/api/users/update"
NOW = int(time.time())


def token(secret: str = JWT_SECRET, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    payload = {"email": "ann@acme.com", "iat": NOW, "exp": NOW + 3600, **claims}
    kept = {name: value for name, value in payload.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwt.encode(kept, secret, algorithm="HS256", headers=headers)


@pytest.mark.parametrize("key", [None, "", "nobody's-key", EU_KEY])
def test_a_key_that_is_absent_unknown_or_of_the_other_region_is_invalid(api: Any, key: str | None) -> None:
    reply = api.send("POST", UPDATE, {"email": "ann@acme.com"}, key=key)
    assert reply.status == 401
    assert reply.json == {
        "msg": "Invalid API key",
        "code": "BadApiKey",
        "params": {"ip": "127.0.0.1", "endpoint": UPDATE},
    }


@pytest.mark.parametrize(
    ("key", "method", "path", "type_name"),
    [
        (DISABLED_KEY, "POST", UPDATE, "ServerSide"),
        (READONLY_KEY, "POST", UPDATE, "ReadOnly"),
        (READONLY_KEY, "POST", "/api/events/track", "ReadOnly"),
        (READONLY_KEY, "POST", "/api/users/bulkUpdate", "ReadOnly"),
        (READONLY_KEY, "GET", "/api/users/ann@acme.com", "ReadOnly"),
        (READONLY_KEY, "GET", "/api/events/ann@acme.com", "ReadOnly"),
        (JWT_KEY, "GET", "/api/users/ann@acme.com", "Web"),
        (JWT_KEY, "DELETE", "/api/users/ann@acme.com", "Web"),
        (JWT_KEY, "POST", "/api/users/forget", "Web"),
        (JWT_KEY, "POST", "/api/users/bulkUpdate", "Web"),
        (JWT_KEY, "POST", "/api/events/trackBulk", "Web"),
        (JWT_KEY, "GET", "/api/users/getFields", "Web"),
    ],
)
def test_a_disabled_key_or_one_of_the_wrong_type_is_named_by_type(
    api: Any, key: str, method: str, path: str, type_name: str
) -> None:
    reply = api.send(method, path, key=key)
    assert reply.outcome == (401, "BadApiKey")
    assert reply.json["params"]["apiKeyType"] == type_name
    assert reply.json["params"]["apiKeyIdentifier"]
    assert key not in reply.body.decode()


@pytest.mark.parametrize("path", ["/api/users/getFields", "/api/lists"])
def test_a_readonly_key_reads_fields_and_lists(api: Any, path: str) -> None:
    assert api.get(path, key=READONLY_KEY).status == 200


@pytest.mark.parametrize("header", ["Api-Key", "Api_Key", "api-key", "API_KEY"])
def test_the_key_header_has_two_spellings_in_any_case(api: Any, header: str) -> None:
    reply = api.send("POST", UPDATE, {}, key=None, headers={header: "sandbox-server-key"})
    assert reply.outcome == (400, "BadParams")


def test_the_key_is_judged_before_the_body_so_an_empty_body_tests_a_connection(api: Any) -> None:
    assert api.send("POST", UPDATE, {}, key="wrong").outcome == (401, "BadApiKey")
    assert api.send("POST", UPDATE, b"{broken", key="wrong").outcome == (401, "BadApiKey")
    assert api.send("POST", UPDATE, {}, key=JWT_KEY).outcome == (401, "BadAuthorizationHeader")
    assert api.send("POST", UPDATE, {}).outcome == (400, "BadParams")


def test_a_sandbox_of_the_other_region_takes_the_other_key(sandbox: Any, api: Any) -> None:
    sandbox.settings(region="eu")
    assert api.send("POST", UPDATE, {}, key=EU_KEY).outcome == (400, "BadParams")
    assert api.send("POST", UPDATE, {}).outcome == (401, "BadApiKey")


MISSING_HEADER = "JWT Authorization header is not set"
EXPIRED = "JWT token is expired"
INVALID = "JWT is invalid"


@pytest.mark.parametrize(
    ("authorization", "code", "msg"),
    [
        (None, "BadAuthorizationHeader", MISSING_HEADER),
        (token(), "BadAuthorizationHeader", "JWT format is invalid"),
        ("Basic YTpi", "BadAuthorizationHeader", "JWT format is invalid"),
        ("Bearer ", "BadAuthorizationHeader", "JWT format is invalid"),
        ("Bearer not-a-token", "InvalidJwtPayload", INVALID),
        (f"Bearer {token(secret='another-secret-0123456789abcdefgh')}", "InvalidJwtPayload", INVALID),
        (f"Bearer {token(headers={'kid': '1'})}", "InvalidJwtPayload", "JWT format is invalid"),
        (f"Bearer {token(iat=NOW - 7200, exp=NOW - 3600)}", "InvalidJwtPayload", EXPIRED),
        (f"Bearer {token(exp=NOW + 31_536_001)}", "InvalidJwtPayload", "exp must be less than 1 year from iat"),
        (f"Bearer {token(iat=str(NOW))}", "InvalidJwtPayload", "Invalid payload"),
        (f"Bearer {token(exp=str(NOW + 60))}", "InvalidJwtPayload", "Invalid payload"),
        (f"Bearer {token(iat=None)}", "InvalidJwtPayload", "Invalid payload"),
        (f"Bearer {token(userId='u1')}", "InvalidJwtPayload", "Invalid payload"),
        (f"Bearer {token(email=7)}", "InvalidJwtPayload", "Invalid payload"),
        (
            f"Bearer {token(email=None)}",
            "InvalidJwtPayload",
            "JWT payload requires a value for userId or email",
        ),
        (
            f"Bearer {token(email='bob@acme.com')}",
            "JwtUserIdentifiersMismatched",
            "JWT user identifiers do not match the identifiers of the request",
        ),
        (
            f"Bearer {token(email=None, userId='u1')}",
            "JwtUserIdentifiersMismatched",
            "JWT user identifiers do not match the identifiers of the request",
        ),
    ],
)
def test_a_bad_token_is_refused(api: Any, authorization: str | None, code: str, msg: str) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    reply = api.send("POST", UPDATE, {"email": "ann@acme.com"}, key=JWT_KEY, headers=headers)
    assert reply.status == 401
    assert reply.json == {"msg": msg, "code": code, "params": {"endpoint": UPDATE}}


@pytest.mark.parametrize(
    ("claims", "body"),
    [
        ({}, {"email": "Ann@Acme.com"}),
        ({"email": "ANN@acme.com"}, {"email": "ann@acme.com", "userId": "u1"}),
        ({"email": None, "userId": "u1"}, {"userId": "u1"}),
        ({"exp": NOW + 31_536_000}, {"email": "ann@acme.com"}),
    ],
)
def test_a_good_token_opens_the_api_for_its_person(api: Any, claims: dict[str, Any], body: object) -> None:
    headers = {"Authorization": f"Bearer {token(**claims)}"}
    assert api.send("POST", UPDATE, body, key=JWT_KEY, headers=headers).outcome == (200, "Success")


def test_the_secret_is_used_as_the_text_it_is(sandbox: Any, api: Any) -> None:
    """The published test vector: its signature is right, so that only its age is left to complain about."""
    sandbox.settings(keys=[{"key": "k", "type": "mobile", "jwt_secret": "2EB6A2F34691492F81A819AEDA32427F"}])
    vector = (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJlbWFpbCI6InRlc3RAaXRlcmFibGUuY29tIiwiaWF0IjoxNTk5NjkzMjE4LCJleHAiOjE1OTk2OTMyMTl9."
        "eDbexB7CnK2jGsXvHfYENrCEkblrLKxgMNbmlfJHXUA"
    )
    reply = api.send("POST", UPDATE, {}, key="k", headers={"Authorization": f"Bearer {vector}"})
    assert reply.json["msg"] == EXPIRED


def test_the_status_of_token_errors_can_be_400(sandbox: Any, api: Any) -> None:
    sandbox.settings(jwt_error_status=400)
    assert api.send("POST", UPDATE, {}, key=JWT_KEY).outcome == (400, "BadAuthorizationHeader")
