"""Whole runs in bulk, as the DAG of the project sends: the same truths as call by call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reverse_etl.sandbox.testing import JWT_KEY, JWT_SECRET, SandboxServer
from tests.operators.conftest import Finished, default_destination
from tests.operators.test_bad_days import add_many, reasons, views

__all__ = ["views"]

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Shop = Callable[..., list[tuple[Any, ...]]]
BULK = default_destination("bulk")


def requests(sandbox: SandboxServer) -> dict[str, int]:
    return {endpoint.split("/")[-1]: sum(counts.values()) for endpoint, counts in sandbox.stats()["requests"].items()}


def test_a_wrong_key_costs_one_request(
    run_sync: Run, connections: Callable[..., None], shop: Shop, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    add_many(shop, 2500)
    connections(password="no-such-key")
    finished = run_sync(destination=BULK)
    assert finished.state == "failed"
    assert finished.tries("deliver") == 1
    assert finished.counts == {"read": 2500, "failed": 2500}
    assert requests(sandbox) == {"bulkUpdate": 1}


def test_thousands_of_rows_are_a_handful_of_requests_and_all_arrive(
    run_sync: Run, shop: Shop, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    add_many(shop, 2500)
    finished = run_sync(destination=BULK)
    assert finished.counts == {"read": 2500, "delivered": 2500}
    assert requests(sandbox) == {"bulkUpdate": 3, "trackBulk": 3}
    assert sandbox.stats()["throttled"] == 0
    emails = {email for (email,) in shop("SELECT email FROM views")}
    assert {user["email"] for user in sandbox.users()} == emails
    assert {event["email"] for event in sandbox.events()} == emails


def test_a_second_run_overwrites_every_event(
    run_sync: Run, shop: Shop, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    add_many(shop, 300)
    run_sync(destination=BULK)
    first = sandbox.events()
    run_sync(destination=BULK)
    assert sandbox.events() == first


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503, "times": 2},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "0.05"}, "times": 5},
        {"kind": "reset", "times": 2},
        {"kind": "garbage", "times": 2},
        {"kind": "lost_reply", "times": 2},
        {"kind": "refuse_rows", "share": 0.3, "seed": 5, "list": "unexplained", "times": 2},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}",
)
def test_a_platform_with_hiccups_loses_and_doubles_nothing(
    run_sync: Run, shop: Shop, views: Callable[..., None], sandbox: SandboxServer, fault: dict[str, Any]
) -> None:
    add_many(shop, 1500)
    sandbox.faults([{"path": "*ulk*", **fault}])
    finished = run_sync(destination=BULK)
    assert finished.counts == {"read": 1500, "delivered": 1500}
    assert len(sandbox.users()) == 1500
    assert len({event["id"] for event in sandbox.events()}) == len(sandbox.events()) == 1500


def test_bad_rows_cost_only_themselves_and_have_their_reasons(
    run_sync: Run, shop: Shop, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    sandbox.post("/api/users/update", {"email": "gone@example.com"})
    sandbox.post("/api/users/forget", {"email": "gone@example.com"})
    add_many(shop, 1200)
    views("gone@example.com")
    views("malformed")
    views("refused@example.com")
    sandbox.faults(
        [
            {
                "path": "*bulkUpdate",
                "kind": "refuse_rows",
                "match_email": ["refused@example.com"],
                "list": "invalidEmails",
            }
        ]
    )
    finished = run_sync(destination=BULK)
    assert finished.state == "success"
    assert finished.counts == {"read": 1203, "delivered": 1200, "invalid": 1, "rejected": 1, "suppressed": 1}
    assert reasons(finished) == {"email_malformed": 1, "invalid_identifier": 1, "ForgottenUserError": 1}


def test_one_person_in_many_rows_is_never_twice_in_flight(
    run_sync: Run, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    sandbox.settings(limits="off")
    for number in range(12):
        views("Ada@Example.com" if number % 2 else "ada@example.COM", first_name=f"Ada {number}")
        views(f"other{number}@example.com")
    finished = run_sync(destination=BULK)
    assert finished.counts == {"read": 24, "delivered": 24}
    assert sandbox.stats()["person_overlaps"] == 0
    names = {user["email"]: user["dataFields"]["first_name"] for user in sandbox.users()}
    assert names["ada@example.com"] == "Ada 11"
    assert len(sandbox.events()) == 24


def test_a_jwt_key_sends_call_by_call_and_says_so(
    run_sync: Run,
    connections: Callable[..., None],
    views: Callable[..., None],
    sandbox: SandboxServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    views("ada@example.com")
    connections(password=JWT_KEY, extra={"jwt_secret": JWT_SECRET})
    assert run_sync(destination=BULK).counts == {"read": 1, "delivered": 1}
    assert requests(sandbox) == {"update": 1, "track": 1}
    assert "calls go one by one" in capsys.readouterr().out
