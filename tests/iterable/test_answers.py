from __future__ import annotations

import orjson
import pytest

from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.errors import (
    AnswerUnreadable,
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    DestinationError,
    Throttled,
    UserNotFound,
    UserSuppressed,
    WrongDestination,
)
from reverse_etl.iterable.answers import Answer, read_answer

PERSON = "ada@example.com"


def envelope(code: object, msg: str = "", params: object = None) -> bytes:
    return orjson.dumps({"msg": msg, "code": code, "params": params})


def refusal(status: int, body: bytes, headers: dict[str, str] | None = None) -> DestinationError:
    with pytest.raises(DestinationError) as caught:
        read_answer(Answer(status, headers or {}, body), clock=lambda: 1_768_320_000.0)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        # 200s that are no success
        (200, b"", AnswerUnreadable, "unreadable"),
        (200, b"{}", AnswerUnreadable, "unreadable"),
        (200, b"[]", AnswerUnreadable, "unreadable"),
        (200, b"null", AnswerUnreadable, "unreadable"),
        (200, b"\xff\x00garbage", AnswerUnreadable, "unreadable"),
        (200, b"<html>Sign in to the wifi</html>", AnswerUnreadable, "unreadable"),
        (200, b'{"msg": "cut sh', AnswerUnreadable, "unreadable"),
        (200, envelope(None), AnswerUnreadable, "unreadable"),
        (200, envelope("BadParams"), CallRejected, "BadParams"),
        (200, envelope("Success", "Event page_view is disallowed from tracking"), CallRejected, "event_disallowed"),
        # the row
        (
            400,
            envelope("InvalidEmailAddressError", f"Invalid email: {PERSON}"),
            CallRejected,
            "InvalidEmailAddressError",
        ),
        (400, envelope("RequestFieldsTypesMismatched"), CallRejected, "RequestFieldsTypesMismatched"),
        (400, envelope("BadJsonBody", f"echo {PERSON}"), CallRejected, "BadJsonBody"),
        (400, envelope("UniqueFieldsLimitExceeded"), CallRejected, "UniqueFieldsLimitExceeded"),
        (400, envelope("Success"), CallRejected, "http_400"),
        (400, b"a sentence", CallRejected, "http_400"),
        (409, envelope("ExternalKeyConflict"), CallRejected, "ExternalKeyConflict"),
        (413, b"<html>too large</html>", CallRejected, "http_413"),
        (422, b"", CallRejected, "http_422"),
        # the person, for good or not yet
        (400, envelope("ForgottenUserError"), UserSuppressed, "ForgottenUserError"),
        (409, envelope("ForgottenUserError"), UserSuppressed, "ForgottenUserError"),
        (400, envelope("UnknownEmailError"), UserNotFound, "UnknownEmailError"),
        (400, envelope("UnknownUserIdError"), UserNotFound, "UnknownUserIdError"),
        # the account
        (401, envelope("BadApiKey", params={"ip": "1.2.3.4"}), AuthenticationRefused, "BadApiKey"),
        (401, envelope("Success"), AuthenticationRefused, "Success"),
        (401, b"<html>no</html>", AuthenticationRefused, "http_401"),
        (400, envelope("InvalidJwtPayload"), AuthenticationRefused, "InvalidJwtPayload"),
        (400, envelope("BadApiKey"), AuthenticationRefused, "BadApiKey"),
        (403, envelope("Forbidden"), AuthenticationRefused, "Forbidden"),
        (404, b"<html><title>Not found</title></html>", WrongDestination, "http_404"),
        (301, b"", WrongDestination, "http_301"),
        (307, envelope("Success"), WrongDestination, "Success"),
        (400, envelope("Success", "error.lists.invalidListId(42)"), WrongDestination, "invalid_list"),
        # the platform, for the moment
        (408, b"", CallFailed, "http_408"),
        (429, envelope("RateLimitExceeded"), Throttled, "RateLimitExceeded"),
        (429, b"Too Many Requests", Throttled, "http_429"),
        (500, envelope("GenericError"), CallFailed, "GenericError"),
        (502, b"<html>bad gateway</html>", CallFailed, "http_502"),
        (503, b"", CallFailed, "http_503"),
        (504, b"", CallFailed, "http_504"),
    ],
)
def test_an_answer_that_is_no_success_is_an_error_of_the_right_type(
    status: int, body: bytes, kind: type[DestinationError], code: str
) -> None:
    error = refusal(status, body, {"Iterable-Request-Id": "request-1"})
    assert type(error) is kind
    assert (error.status, error.code, error.request_id) == (status, code, "request-1")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413])
def test_these_statuses_are_never_worth_another_try(status: int) -> None:
    assert not refusal(status, envelope("BadParams")).retryable


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_these_statuses_are_worth_another_try(status: int) -> None:
    assert refusal(status, b"").retryable


@pytest.mark.parametrize(
    "body",
    [
        envelope("BadJsonBody", f"Invalid body: {PERSON}"),
        envelope(f"Unknown user {PERSON}"),
        envelope("x" * 500),
        PERSON.encode(),
    ],
)
def test_an_error_repeats_nothing_of_the_body_but_a_plain_code(body: bytes) -> None:
    error = refusal(400, body)
    assert PERSON not in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("headers", "params", "seconds"),
    [
        ({}, None, None),
        ({"Retry-After": "5"}, None, 5),
        ({"Retry-After": "0"}, None, 0),
        ({"Retry-After": "Tue, 13 Jan 2026 16:00:30 GMT"}, None, 30),
        ({"Retry-After": "Tue, 13 Jan 2026 15:00:00 GMT"}, None, 0),
        ({"Retry-After": "soon"}, None, None),
        ({"Retry-After": "-3"}, None, None),
        ({"Retry-After": "inf"}, None, None),
        ({}, {"rateLimitReset": 7}, 7),
        ({}, {"rateLimitReset": "7"}, 7),
        ({}, {"rateLimitReset": None}, None),
        ({}, {"rateLimitReset": True}, None),
        ({}, [], None),
        ({"Retry-After": "5"}, {"rateLimitReset": 7}, 7),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_platforms_hint_is_read_wherever_it_stands(
    status: int, headers: dict[str, str], params: object, seconds: float | None
) -> None:
    assert refusal(status, envelope("RateLimitExceeded", params=params), headers).retry_after == seconds


def test_a_disabled_key_is_told_from_a_wrong_one() -> None:
    disabled = refusal(401, envelope("BadApiKey", params={"apiKeyType": "ServerSide"}))
    assert "disabled or lacks the privilege" in disabled.message
    assert "was refused" in refusal(401, envelope("BadApiKey")).message


@pytest.mark.parametrize(
    "body", [envelope("Success"), envelope("Success", "Event with id: 1 tracked.", {"id": "1"}), b'{"code":"Success"}']
)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_success_needs_a_2xx_and_a_body_that_says_so(status: int, body: bytes) -> None:
    answer = Answer(status, {"Iterable-Request-Id": "request-1"}, body)
    assert read_answer(answer) == Receipt(status, "request-1")


@pytest.mark.parametrize("request_id", ["", "ada@example.com", "x" * 65, "a b"])
def test_a_request_id_that_is_none_is_not_kept(request_id: str) -> None:
    assert refusal(503, b"", {"Iterable-Request-Id": request_id}).request_id is None
