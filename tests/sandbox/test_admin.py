"""The admin interface: settings, counts, streams, reset."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

EMAIL = "ann@acme.com"


@pytest.mark.parametrize(
    ("patch", "named"),
    [
        ({"lattency_ms": 1}, "lattency_ms is unknown; allowed: project_type, project_id, region, keys, limits"),
        ({"latency_ms": -1}, "latency_ms: Input should be greater than or equal to 0"),
        ({"latency_ms": "fast"}, "latency_ms: Input should be a valid number"),
        ({"project_type": "x"}, "project_type: Input should be 'email', 'userid' or 'hybrid'"),
        ({"limits": {"POST /x": 1}}, "limits: unknown POST /x; allowed: POST /api/users/update"),
        ({"limits": {"POST /api/users/update": 0}}, "limits"),
        ({"keys": [{"key": "k", "kind": "x"}]}, "keys.0.kind is unknown; allowed: key, type, region, disabled"),
        ({"keys": [{"key": "k", "jwt_secret": "x" * 32}]}, "jwt_secret is only for client-side keys"),
        ({"keys": [{"key": "k", "type": "web", "jwt_secret": "short"}]}, "keys.0.jwt_secret: String should have"),
    ],
)
def test_a_wrong_setting_is_refused_and_named_and_nothing_changes(
    sandbox: Any, api: Any, patch: dict[str, Any], named: str
) -> None:
    before = sandbox.settings()
    reply = api.send("PUT", "/sandbox/settings", {"retry_after": True, **patch})
    assert reply.status == 422
    assert named in reply.json["detail"]
    assert sandbox.settings() == before


@pytest.mark.parametrize("body", [[], "x", None])
def test_settings_come_as_an_object(api: Any, body: object) -> None:
    assert api.send("PUT", "/sandbox/settings", body).status == 422


def test_settings_are_patched_and_shown(sandbox: Any) -> None:
    assert sandbox.settings()["project_type"] == "hybrid"
    changed = sandbox.settings(project_type="email", disallowed_event_names=["e"])
    assert (changed["project_type"], changed["limits"]) == ("email", "off")
    assert sandbox.settings() == changed


def test_reset_takes_everything_back_to_the_start(sandbox: Any, api: Any) -> None:
    start = sandbox.settings()
    sandbox.settings(project_type="email", limits="published")
    api.update(email=EMAIL, dataFields={"a": 1})
    api.track(email=EMAIL, eventName="e")
    sandbox.faults([{"kind": "reset"}])
    sandbox.reset()
    assert sandbox.settings() == start
    assert sandbox.get("/sandbox/faults") == []
    assert (sandbox.users(), sandbox.events()) == ([], [])
    assert sandbox.stats()["requests_total"] == 0
    assert api.update(email=EMAIL, dataFields={"a": "another type"}).status == 200


def test_stats_count_requests_by_endpoint_and_status(sandbox: Any, api: Any) -> None:
    api.update(email=EMAIL)
    api.update()
    api.track(email=EMAIL, eventName="e", id="1")
    api.track(email=EMAIL, eventName="e", id="1")
    api.get("/api/nothing")
    assert sandbox.stats() == {
        "users": 1,
        "events": 1,
        "events_overwritten": 1,
        "events_dropped": 0,
        "reserved_fields_ignored": 0,
        "requests": {
            "POST /api/users/update": {"200": 1, "400": 1},
            "POST /api/events/track": {"200": 2},
            "unknown path": {"404": 1},
        },
        "requests_total": 5,
        "throttled": 0,
        "in_flight": 0,
        "max_in_flight": 1,
        "max_in_one_second": {"POST /api/users/update": 2, "POST /api/events/track": 2, "unknown path": 1},
        "person_overlaps": 0,
        "bulk_rows": {},
    }


def test_latency_delays_answers_side_by_side_and_overlaps_of_a_person_are_counted(sandbox: Any, api: Any) -> None:
    sandbox.settings(latency_ms=250)
    emails = [EMAIL, "bob@acme.com", "cy@acme.com", "Ann@acme.com"]
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda email: api.update(email=email), emails))
    assert [reply.status for reply in replies] == [200] * 4
    stats = sandbox.stats()
    assert (stats["max_in_flight"], stats["person_overlaps"], stats["in_flight"]) == (4, 1, 0)
    assert api.update(email=EMAIL).status == 200
    assert sandbox.stats()["person_overlaps"] == 1


def test_streams_hold_all_state(sandbox: Any, api: Any) -> None:
    for number in range(5):
        api.update(userId=f"u{number}", dataFields={"n": number})
        api.track(userId=f"u{number}", eventName="e", id=f"{number}")
    assert [user["dataFields"]["n"] for user in sandbox.users()] == [0, 1, 2, 3, 4]
    assert [event["id"] for event in sandbox.events()] == ["0", "1", "2", "3", "4"]
    assert api.get("/sandbox/users").headers["content-type"].startswith("application/x-ndjson")


def test_saving_without_a_state_file_is_refused(api: Any) -> None:
    reply = api.send("POST", "/sandbox/save")
    assert reply.status == 422
    assert "--state" in reply.json["detail"]


def test_an_admin_path_that_is_none_is_404(api: Any) -> None:
    assert api.get("/sandbox/nothing").status == 404
