"""Faults on demand: each kind, each way to aim it, and what was applied all the same."""

from __future__ import annotations

import threading
import time
from http.client import RemoteDisconnected
from typing import Any

import orjson
import pytest

UPDATE = "/api/users/update"
EMAIL = "ann@acme.com"
CLOCK_STEP = 0.005
"""So many seconds earlier an event loop may take a moment for come."""


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({}, "rule 0: kind: Field required"),
        (
            {"kind": "explode"},
            "'status', 'delay', 'reset', 'lost_reply', 'garbage', 'html', 'hang', 'truncated', 'half' or 'refuse_rows'",
        ),
        ({"kind": "reset", "tims": 1}, "tims is unknown; allowed: path, kind, status"),
        ({"kind": "status"}, "kind status needs status"),
        ({"kind": "delay"}, "kind delay needs delay_seconds"),
        ({"kind": "reset", "status": 500}, "status is for the kinds status, html and half"),
        ({"kind": "reset", "applied": True}, "applied is for the kinds garbage and hang"),
        ({"kind": "status", "status": 99}, "status: Input should be greater than or equal to 200"),
        ({"kind": "reset", "probability": 2}, "probability: Input should be less than or equal to 1"),
        ({"kind": "refuse_rows", "share": 0.5}, "kind refuse_rows needs list"),
        ({"kind": "refuse_rows", "list": "unexplained"}, "needs share, match_email or match_user_id"),
        ({"kind": "refuse_rows", "share": 0, "list": "unexplained"}, "share: Input should be greater than 0"),
        ({"kind": "refuse_rows", "share": 1, "list": "noOpEmails"}, "'conflictEmails' or 'conflictUserIds'"),
        ({"kind": "reset", "share": 0.5}, "share and list are for the kind refuse_rows, not for reset"),
        ({"kind": "reset", "list": "unexplained"}, "share and list are for the kind refuse_rows, not for reset"),
        ({"kind": "reset", "times": 0}, "times: Input should be greater than or equal to 1"),
        ("reset", "rule 0: value: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_rule_is_refused_and_named_and_the_rules_stay(sandbox: Any, api: Any, rule: Any, named: str) -> None:
    sandbox.faults([{"kind": "html"}])
    reply = api.send("PUT", "/sandbox/faults", [rule])
    assert reply.status == 422
    assert named in reply.json["detail"]
    assert [armed["kind"] for armed in sandbox.get("/sandbox/faults")] == ["html"]


@pytest.mark.parametrize("body", [{"kind": "reset"}, "reset", None])
def test_rules_come_as_a_list(api: Any, body: object) -> None:
    assert api.send("PUT", "/sandbox/faults", body).status == 422


@pytest.mark.parametrize(
    ("rule", "content_type", "body"),
    [
        ({}, "application/json", {"msg": "Injected by the sandbox", "code": "GenericError", "params": None}),
        ({"body": {"code": "X"}}, "application/json", {"code": "X"}),
        ({"body": "Service Unavailable"}, "text/plain; charset=utf-8", "Service Unavailable"),
        (
            {"body": {"code": "X"}, "headers": {"Retry-After": "7", "Content-Type": "text/x"}},
            "text/x",
            {"code": "X"},
        ),
    ],
)
def test_status_answers_without_applying(
    sandbox: Any, api: Any, rule: dict[str, Any], content_type: str, body: object
) -> None:
    sandbox.faults([{"kind": "status", "status": 503, **rule}])
    reply = api.update(email=EMAIL)
    assert (reply.status, reply.headers["content-type"]) == (503, content_type)
    assert (reply.body.decode() if isinstance(body, str) else reply.json) == body
    assert reply.headers.get("retry-after") == rule.get("headers", {}).get("Retry-After")
    assert sandbox.users() == []
    assert sandbox.stats()["requests"] == {"POST /api/users/update": {"503": 1}}


def test_html_is_a_page_of_the_ingress(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "html", "times": 1}, {"kind": "html", "status": 504}])
    replies = [api.update(email=EMAIL) for _ in range(2)]
    assert [reply.status for reply in replies] == [502, 504]
    assert all(reply.headers["content-type"].startswith("text/html") for reply in replies)
    assert b"Bad Gateway" in replies[0].body
    assert sandbox.users() == []


@pytest.mark.parametrize(("applied", "users"), [(None, 1), (True, 1), (False, 0)])
def test_garbage_is_200_without_json(sandbox: Any, api: Any, applied: bool | None, users: int) -> None:
    sandbox.faults([{"kind": "garbage", **({} if applied is None else {"applied": applied})}])
    reply = api.update(email=EMAIL)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(reply.body)
    assert len(sandbox.users()) == users


@pytest.mark.parametrize(("kind", "users"), [("reset", 0), ("lost_reply", 1)])
def test_a_cut_connection_has_no_answer_and_the_change_is_lost_or_applied(
    sandbox: Any, api: Any, kind: str, users: int
) -> None:
    sandbox.faults([{"kind": kind, "times": 1}])
    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        api.update(email=EMAIL)
    assert len(sandbox.users()) == users
    assert sandbox.stats()["requests"] == {"POST /api/users/update": {kind: 1}}
    assert api.update(email=EMAIL).status == 200


def test_a_delay_comes_before_the_usual_answer(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "delay", "delay_seconds": 0.2}])
    begun = time.monotonic()
    assert api.update(email=EMAIL).status == 200
    assert time.monotonic() - begun >= 0.2 - CLOCK_STEP


def test_other_kinds_can_be_delayed_too(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "status", "status": 500, "delay_seconds": 0.2}])
    begun = time.monotonic()
    assert api.update(email=EMAIL).status == 500
    assert time.monotonic() - begun >= 0.2 - CLOCK_STEP


@pytest.mark.parametrize(("applied", "users"), [(False, 0), (True, 1)])
def test_hang_never_answers(sandbox: Any, api: Any, applied: bool, users: int) -> None:
    sandbox.faults([{"kind": "hang", "applied": applied}])
    with pytest.raises(TimeoutError):
        api.send("POST", UPDATE, {"email": EMAIL}, timeout=0.2)
    assert len(sandbox.users()) == users


def test_hang_ends_with_a_cut_connection_after_its_time(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "hang", "delay_seconds": 0.1}])
    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        api.update(email=EMAIL)
    assert sandbox.stats()["requests"] == {"POST /api/users/update": {"hang": 1}}


def test_after_and_times_choose_which_requests_fail_and_are_counted(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "status", "status": 500, "after": 2, "times": 2}])
    assert [api.update(email=EMAIL).status for _ in range(6)] == [200, 200, 500, 500, 200, 200]
    assert sandbox.get("/sandbox/faults") == [
        {"kind": "status", "status": 500, "after": 2, "times": 2, "matched": 6, "fired": 2}
    ]


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/api/events/track", [200, 500, 200]),
        ("/api/events/*", [200, 500, 200]),
        ("/api/users/*", [500, 200, 500]),
        ("*", [500, 500, 500]),
        ("/api/nothing", [200, 200, 200]),
    ],
)
def test_a_path_or_pattern_chooses_endpoints(sandbox: Any, api: Any, path: str, statuses: list[int]) -> None:
    api.update(email=EMAIL)
    sandbox.faults([{"kind": "status", "status": 500, "path": path}])
    replies = (api.update(email=EMAIL), api.track(email=EMAIL, eventName="e"), api.get(f"/api/users/{EMAIL}"))
    assert [reply.status for reply in replies] == statuses


@pytest.mark.parametrize(
    ("rule", "hit"),
    [
        ({"match_email": "Ann@acme.com"}, {"email body", "both", "path", "query"}),
        ({"match_user_id": "u1"}, {"both", "id body", "id path"}),
        ({"match_user_id": "U1"}, set()),
        ({"match_email": ["x@acme.com", "Ann@acme.com"]}, {"email body", "both", "path", "query"}),
        ({"match_user_id": ["u1", "u9"]}, {"both", "id body", "id path"}),
        (
            {"match_email": EMAIL, "match_user_id": "u1"},
            {"email body", "both", "path", "query", "id body", "id path"},
        ),
    ],
)
def test_a_rule_can_hit_one_person_only(sandbox: Any, api: Any, rule: dict[str, str], hit: set[str]) -> None:
    sandbox.faults([{"kind": "status", "status": 599, **rule}])
    replies = {
        "email body": api.update(email="ANN@acme.com"),
        "both": api.update(email=EMAIL, userId="u1"),
        "id body": api.update(userId="u1"),
        "other": api.update(email="bob@acme.com", userId="u2"),
        "broken": api.send("POST", UPDATE, b"{"),
        "path": api.get("/api/users/ann%40acme.com"),
        "query": api.get("/api/users/getByEmail?email=ann@acme.com"),
        "id path": api.get("/api/users/byUserId/u1"),
    }
    assert {name for name, reply in replies.items() if reply.status == 599} == hit


def test_a_probability_is_repeatable_by_its_seed(sandbox: Any, api: Any) -> None:
    def draw(seed: int) -> list[int]:
        sandbox.faults([{"kind": "status", "status": 500, "probability": 0.5, "seed": seed}])
        return [api.update(email=EMAIL).status for _ in range(20)]

    first = draw(1)
    assert set(first) == {200, 500}
    assert draw(1) == first
    assert draw(2) != first


def test_the_first_rule_that_fires_decides(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "status", "status": 500, "times": 1}, {"kind": "status", "status": 501}])
    assert [api.update(email=EMAIL).status for _ in range(2)] == [500, 501]
    assert [rule["matched"] for rule in sandbox.get("/sandbox/faults")] == [2, 1]


def test_faults_come_before_the_key_and_are_cleared(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "status", "status": 500}])
    assert api.send("POST", UPDATE, {}, key="wrong").status == 500
    assert sandbox.delete("/sandbox/faults") == []
    assert api.send("POST", UPDATE, {}, key="wrong").status == 401


def test_the_admin_interface_is_never_hit(sandbox: Any) -> None:
    sandbox.faults([{"kind": "reset"}])
    assert sandbox.get("/sandbox/health")["status"] == "ok"


def test_a_delayed_change_is_applied_even_when_the_client_has_left(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "delay", "delay_seconds": 0.3}])
    with pytest.raises(TimeoutError):
        api.send("POST", UPDATE, {"email": EMAIL}, timeout=0.1)
    assert sandbox.users() == []
    end = time.monotonic() + 5
    while sandbox.stats()["in_flight"] and time.monotonic() < end:
        threading.Event().wait(0.02)
    assert len(sandbox.users()) == 1
