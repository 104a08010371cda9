"""Faults on the Customer.io side: what is sent, what was applied, and that Iterable's side is left alone."""

from __future__ import annotations

import time
from http.client import IncompleteRead, RemoteDisconnected
from typing import Any

import orjson
import pytest

PERSON = {"userId": "u1"}


def track(number: int) -> dict[str, Any]:
    return {"type": "track", "event": "e", "userId": f"u{number}", "messageId": f"m{number}"}


@pytest.mark.parametrize("status", [400, 401, 408, 413, 429, 500, 502, 503, 504, 522])
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "2"}])
def test_a_status_comes_in_the_shape_of_the_api_with_and_without_a_hint(
    cio: Any, sandbox: Any, status: int, headers: dict[str, str]
) -> None:
    sandbox.faults([{"kind": "status", "status": status, "path": "/v1/*", "headers": headers}])
    reply = cio.send("identify", PERSON)
    assert (reply.status, reply.json) == (status, {"meta": {"errors": ["injected by the sandbox"]}})
    assert reply.headers.get("retry-after") == headers.get("Retry-After")
    assert cio.state.people() == []


@pytest.mark.parametrize("shape", ["meta_error", "errors", "code", "text"])
def test_an_injected_error_takes_the_shape_of_the_settings(cio: Any, sandbox: Any, shape: str) -> None:
    sandbox.settings(customerio={"error_shape": shape})
    sandbox.faults([{"kind": "status", "status": 522}])
    reply = cio.send("identify", PERSON)
    assert reply.status == 522
    assert b"injected by the sandbox" in reply.body


@pytest.mark.parametrize(
    "body", [{"success": False}, {}, "", "OK", {"code": "x", "message": "y"}, {"errors": [{"reason": "r"}]}]
)
def test_a_200_can_say_anything(cio: Any, sandbox: Any, body: object) -> None:
    sandbox.faults([{"kind": "status", "status": 200, "body": body}])
    reply = cio.send("identify", PERSON)
    assert (reply.status, reply.body) == (200, body.encode() if isinstance(body, str) else orjson.dumps(body))
    assert cio.state.people() == []


@pytest.mark.parametrize(
    ("rule", "error", "applied"),
    [
        ({"kind": "reset"}, ConnectionResetError, 0),
        ({"kind": "lost_reply"}, (ConnectionResetError, RemoteDisconnected), 4),
        ({"kind": "truncated"}, IncompleteRead, 4),
        ({"kind": "half"}, (ConnectionResetError, RemoteDisconnected), 2),
        ({"kind": "hang", "delay_seconds": 0.1}, (ConnectionResetError, RemoteDisconnected), 0),
    ],
)
def test_a_batch_without_an_answer_is_sent_again_and_nothing_is_lost_or_doubled(
    cio: Any, sandbox: Any, rule: dict[str, Any], error: Any, applied: int
) -> None:
    sandbox.faults([{"times": 1, **rule}])
    items = [track(number) for number in range(4)]
    with pytest.raises(error):
        cio.batch(*items)
    assert len(cio.state.events()) == applied
    assert cio.batch(*items).status == 200
    assert [event["messageId"] for event in cio.state.events()] == ["m0", "m1", "m2", "m3"]
    assert cio.state.stats()["duplicates"] == applied
    assert sandbox.stats()["requests"]["POST /v1/batch"] == {rule["kind"]: 1, "200": 1}


@pytest.mark.parametrize(("rows", "applied"), [(5, 2), (2, 1), (1, 0)])
def test_half_a_batch_may_be_answered_with_a_status(cio: Any, sandbox: Any, rows: int, applied: int) -> None:
    sandbox.faults([{"kind": "half", "status": 503}])
    assert cio.batch(*[track(number) for number in range(rows)]).status == 503
    assert len(cio.state.events()) == applied


def test_half_a_large_batch_is_measured_as_it_was_sent(cio: Any, sandbox: Any) -> None:
    sandbox.faults([{"kind": "half", "status": 500}])
    large = {"properties": {"fill": "x" * 40_000}}
    assert cio.batch(track(0), track(1), track(2), track(3) | large).status == 500
    assert len(cio.state.events()) == 2


def test_half_is_about_batches_only(cio: Any, sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "half", "status": 500}])
    assert cio.send("identify", PERSON).status == 200
    assert cio.batch().status == 200
    assert api.update(email="a@acme.com").status == 200
    assert api.bulk_update({"email": "b@acme.com"}, {"email": "c@acme.com"}).status == 500
    assert len(sandbox.users()) == 2


def test_items_may_vanish_in_silence_and_are_found_in_the_dropped_log(cio: Any, sandbox: Any) -> None:
    sandbox.faults([{"kind": "refuse_rows", "match_user_id": ["u1", "u3"], "list": "unexplained"}])
    assert cio.batch(*[track(number) for number in range(4)]).json == {"success": True}
    assert [event["userId"] for event in cio.state.events()] == ["u0", "u2"]
    assert cio.dropped() == [("injected", 1), ("injected", 3)]


@pytest.mark.parametrize(
    ("rule", "content"),
    [({"kind": "garbage"}, b"\x00\xff{not json"), ({"kind": "html", "status": 502}, b"<!DOCTYPE html>")],
)
def test_what_is_no_json(cio: Any, sandbox: Any, rule: dict[str, Any], content: bytes) -> None:
    sandbox.faults([rule])
    assert cio.send("identify", PERSON).body.startswith(content)


def test_a_slow_answer_and_latency(cio: Any, sandbox: Any) -> None:
    sandbox.faults([{"kind": "delay", "delay_seconds": 0.2, "times": 1}])
    begun = time.monotonic()
    assert cio.send("identify", PERSON).status == 200
    assert time.monotonic() - begun >= 0.2


def test_a_path_aims_at_one_side(cio: Any, sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "status", "status": 500, "path": "/v1/*"}])
    assert (cio.send("identify", PERSON).status, api.update(email="a@acme.com").status) == (500, 200)
    sandbox.faults([{"kind": "status", "status": 500, "path": "/api/*"}])
    assert (cio.send("identify", PERSON).status, api.update(email="a@acme.com").status) == (200, 500)


def test_a_rule_aims_at_a_person_in_single_calls_and_batches(cio: Any, sandbox: Any) -> None:
    sandbox.faults([{"kind": "status", "status": 599, "match_user_id": "u1"}])
    assert cio.send("identify", {"userId": "u2"}).status == 200
    assert cio.send("identify", PERSON).status == 599
    assert [cio.batch(track(0), track(number)).status for number in (1, 2)] == [599, 200]


def test_answers_carry_no_header_of_iterable(cio: Any, api: Any) -> None:
    assert "iterable-request-id" not in cio.send("identify", PERSON).headers
    assert "iterable-request-id" in api.update(email="a@acme.com").headers
