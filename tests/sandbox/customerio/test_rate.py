"""The rate meter: reports by default, refuses when told to."""

from __future__ import annotations

from typing import Any

from reverse_etl.sandbox.customerio.rate import RateMeter
from reverse_etl.sandbox.customerio.settings import PUBLISHED_RATE, CustomerIoSettings

PERSON = {"userId": "u1"}


def test_the_published_rate_is_3000_in_3_seconds() -> None:
    assert (PUBLISHED_RATE.requests, PUBLISHED_RATE.seconds) == (3000, 3)
    assert CustomerIoSettings().rate_per_3_seconds == 3000


def test_the_window_slides_and_a_refused_request_does_not_fill_it() -> None:
    now = [0.0]
    meter = RateMeter(lambda: now[0])
    answers = []
    for now[0] in (0, 1, 2, 2.5, 2.75, 3, 3.5, 4):
        answers.append(meter.take(3, enforce=True))
    assert answers == [None, None, None, 0.5, 0.25, None, 0.5, None]
    assert (meter.busiest, meter.over) == (3, 3)


def test_more_than_the_rate_is_only_counted_by_default(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"rate_per_3_seconds": 2})
    assert [cio.send("identify", PERSON).status for _ in range(4)] == [200] * 4
    stats = cio.state.stats()
    assert (stats["max_requests_in_3_seconds"], stats["requests_over_rate"]) == (4, 2)


def test_an_enforced_rate_is_429_with_a_hint_when_the_settings_say_so(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"rate_per_3_seconds": 2, "enforce_rate": True})
    replies = [cio.send("identify", PERSON, strict=strict) for strict in ("1", "1", "1", None)]
    assert [reply.status for reply in replies] == [200, 200, 429, 429]
    assert replies[2].json == {"meta": {"errors": ["more than 2 requests in 3 seconds"]}}
    assert "retry-after" not in replies[2].headers
    sandbox.settings(retry_after=True)
    reply = cio.send("identify", PERSON)
    assert (reply.status, 1 <= int(reply.headers["retry-after"]) <= 3) == (429, True)
    assert sandbox.stats()["throttled"] == 3


def test_a_wrong_key_uses_up_no_rate(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"rate_per_3_seconds": 1, "enforce_rate": True})
    for _ in range(3):
        assert cio.send("identify", PERSON, authorization=None).status == 401
    assert cio.send("identify", PERSON).status == 200


def test_a_batch_is_one_request(cio: Any) -> None:
    cio.batch(*[{"type": "track", "event": "e", "userId": "u1"}] * 50)
    assert cio.state.stats()["max_requests_in_3_seconds"] == 1
