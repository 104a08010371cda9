from __future__ import annotations

import pytest

from reverse_etl.customerio.answers import read_answer
from reverse_etl.delivery.answers import Answer
from reverse_etl.errors import (
    AnswerUnreadable,
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    DestinationError,
    Throttled,
    WrongDestination,
)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (200, b'{"success":false}', CallRejected, "not_successful"),
        (200, b'{"success":"no","code":"bad_traits"}', CallRejected, "bad_traits"),
        (200, b'{"meta":{"errors":["no"]}}', CallRejected, "not_successful"),
        (207, b'{"errors":[{"reason":"invalid","field":"traits"}]}', CallRejected, "invalid"),
        (200, b"<html>Please sign in</html>", AnswerUnreadable, "unreadable"),
        (200, b'{"succ', AnswerUnreadable, "unreadable"),
        (200, b"\xff\x00garbage", AnswerUnreadable, "unreadable"),
        (200, b"[]", AnswerUnreadable, "unreadable"),
        (400, b'{"meta":{"errors":["userId of ada@example.com is wrong"]}}', CallRejected, "http_400"),
        (400, b'{"meta":{"error":"invalid_user"}}', CallRejected, "http_400"),
        (400, b'{"meta":{"errors":["user_4711"]}}', CallRejected, "http_400"),
        (400, b'{"errors":[{"reason":"required","field":"event","message":"x"}]}', CallRejected, "required"),
        (400, b'{"code":"too_big","message":"x"}', CallRejected, "too_big"),
        (400, b"bad request", CallRejected, "http_400"),
        (400, b"", CallRejected, "http_400"),
        (400, b"{}", CallRejected, "http_400"),
        (400, b'{"meta":[],"errors":"x y"}', CallRejected, "http_400"),
        (400, b'{"meta":{"errors":[]},"errors":[[]]}', CallRejected, "http_400"),
        (400, b"<html></html>", CallRejected, "http_400"),
        (413, b"", CallRejected, "http_413"),
        (422, b"", CallRejected, "http_422"),
        (401, b"", AuthenticationRefused, "http_401"),
        (403, b'{"code":"forbidden"}', AuthenticationRefused, "forbidden"),
        (404, b"", WrongDestination, "http_404"),
        (301, b"", WrongDestination, "http_301"),
        (429, b"", Throttled, "http_429"),
        *[(status, b"oops", CallFailed, f"http_{status}") for status in (408, 500, 501, 502, 503, 504, 522, 524)],
    ],
)
def test_what_is_no_confirmation_is_an_error_of_the_right_type(
    status: int, body: bytes, kind: type[DestinationError], code: str
) -> None:
    with pytest.raises(DestinationError) as refused:
        read_answer(Answer(status, {}, body))
    assert type(refused.value) is kind
    assert (refused.value.status, refused.value.code) == (status, code)
    assert "ada@example.com" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "body"), [(200, b'{"success":true}'), (200, b"{}"), (200, b""), (202, b" \n"), (204, b"")]
)
def test_a_2xx_without_a_complaint_is_a_confirmation(status: int, body: bytes) -> None:
    assert read_answer(Answer(status, {}, body)).status == status


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("Thu, 01 Jan 1970 00:01:40 GMT", 10), ("soon", None)])
def test_the_wait_a_throttle_asks_for_is_read(header: str, seconds: float | None) -> None:
    with pytest.raises(Throttled) as refused:
        read_answer(Answer(429, {"Retry-After": header}, b""), clock=lambda: 90)
    assert refused.value.retry_after == seconds
