"""Rate limits: token buckets per endpoint, and the 429 they answer with."""

from __future__ import annotations

from typing import Any

import pytest

from reverse_etl.sandbox.iterable.limits import PUBLISHED_LIMITS
from reverse_etl.sandbox.iterable.routes import ENDPOINTS
from reverse_etl.sandbox.limits import Limit, Limiter

UPDATE = "POST /api/users/update"
TRACK = "POST /api/events/track"


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_bucket_holds_one_period_and_refills_steadily() -> None:
    clock = Clock()
    limiter = Limiter({"e": (Limit(4),)}, clock)
    assert [limiter.take("e") is None for _ in range(6)] == [True] * 4 + [False] * 2
    exceeded = limiter.take("e")
    assert exceeded is not None
    assert (exceeded.wait_seconds, exceeded.whole_seconds) == (0.25, 1)
    clock.seconds = 0.5
    assert [limiter.take("e") is None for _ in range(3)] == [True, True, False]
    clock.seconds = 60
    assert [limiter.take("e") is None for _ in range(5)] == [True] * 4 + [False]


def test_the_tighter_of_two_buckets_decides_and_a_refusal_takes_from_neither() -> None:
    clock = Clock()
    limiter = Limiter({"e": (Limit(2), Limit(3, 86_400))}, clock)
    assert [limiter.take("e") is None for _ in range(3)] == [True, True, False]
    clock.seconds = 1
    assert limiter.take("e") is None
    exceeded = limiter.take("e")
    assert exceeded is not None
    assert exceeded.limit.text == "3.0 per day"


def test_an_endpoint_without_limit_is_never_refused() -> None:
    limiter = Limiter({"e": ()}, Clock())
    assert all(limiter.take(name) is None for name in ("e", "other") for _ in range(1000))


def test_every_endpoint_is_in_the_table_of_published_limits() -> None:
    assert {endpoint.name for endpoint in ENDPOINTS} == set(PUBLISHED_LIMITS)


@pytest.mark.parametrize(
    ("endpoint", "texts"),
    [
        (UPDATE, ["500.0 per second"]),
        (TRACK, ["2000.0 per second"]),
        ("POST /api/users/bulkUpdate", ["5.0 per second"]),
        ("POST /api/events/trackBulk", ["10.0 per second"]),
        ("GET /api/users/getFields", ["3.0 per second"]),
        ("POST /api/users/forget", ["3.0 per second", "1000.0 per day"]),
    ],
)
def test_published_limits(endpoint: str, texts: list[str]) -> None:
    assert [limit.text for limit in PUBLISHED_LIMITS[endpoint]] == texts


@pytest.mark.parametrize("retry_after", [False, True])
@pytest.mark.parametrize("path", ["/api/users/update", "/api/users/bulkUpdate"])
def test_user_updates_say_how_long_to_wait(api: Any, sandbox: Any, path: str, retry_after: bool) -> None:
    sandbox.settings(limits={f"POST {path}": 0.01}, retry_after=retry_after)
    body = {"email": "ann@acme.com", "users": [{"email": "ann@acme.com"}]}
    assert api.send("POST", path, body).status == 200
    reply = api.send("POST", path, body)
    assert reply.status == 429
    assert reply.json == {
        "msg": f"Exceeded rate limit of 0.01 per second for endpoint:{path}, project: 1 ",
        "code": "RateLimitExceeded",
        "params": {"rateLimitLimit": 0, "rateLimitRemaining": 0, "rateLimitReset": 100},
    }
    assert reply.headers.get("retry-after") == ("100" if retry_after else None)
    assert len(sandbox.users()) == 1
    assert sandbox.stats()["throttled"] == 1


def test_other_endpoints_do_not_say_and_have_buckets_of_their_own(api: Any, sandbox: Any) -> None:
    sandbox.settings(limits={TRACK: 0.01, UPDATE: None})
    for _ in range(3):
        assert api.update(email="ann@acme.com").status == 200
    assert api.track(email="ann@acme.com", eventName="e").status == 200
    reply = api.track(email="ann@acme.com", eventName="e")
    assert (reply.status, reply.json["params"]) == (429, {})


def test_published_limits_hold_for_endpoints_not_named(api: Any, sandbox: Any) -> None:
    sandbox.settings(limits={UPDATE: 0.01})
    assert 429 in [api.get("/api/users/getFields").status for _ in range(20)]


def test_a_wrong_key_uses_up_no_rate(api: Any, sandbox: Any) -> None:
    sandbox.settings(limits={UPDATE: 0.01})
    for _ in range(3):
        assert api.send("POST", "/api/users/update", {}, key="wrong").status == 401
    assert api.update(email="ann@acme.com").status == 200
