"""events/track and reading events back."""

from __future__ import annotations

import calendar
import re
import time
from typing import Any
from urllib.parse import quote

import pytest

EMAIL = "ann@acme.com"
TRACK = "/api/events/track"


@pytest.fixture
def known(api: Any) -> Any:
    """The API with one user, known by both identifiers."""
    api.update(email=EMAIL, userId="u1")
    return api


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        ({"email": EMAIL}, {"obj.eventName": "Required value is missing"}),
        ({"email": EMAIL, "eventName": None}, {"obj.eventName": "Required value is missing"}),
        ({"email": EMAIL, "eventName": 7}, {"obj.eventName": "String value expected"}),
        ({"email": EMAIL, "eventName": "e", "createdAt": "now"}, {"obj.createdAt": "Number value expected"}),
        ({"email": EMAIL, "eventName": "e", "createdAt": 1.5}, {"obj.createdAt": "Number value expected"}),
        ({"email": EMAIL, "eventName": "e", "createdAt": True}, {"obj.createdAt": "Number value expected"}),
        ({"email": EMAIL, "eventName": "e", "id": 7}, {"obj.id": "String value expected"}),
        ({"email": EMAIL, "eventName": "e", "campaignId": "7"}, {"obj.campaignId": "Number value expected"}),
        ({"email": EMAIL, "eventName": "e", "templateId": "7"}, {"obj.templateId": "Number value expected"}),
        ({"email": EMAIL, "eventName": "e", "dataFields": "x"}, {"obj.dataFields": "Object value expected"}),
        (b"{", {"obj": "Valid JSON expected"}),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused_with_the_paths_named(
    known: Any, sandbox: Any, body: object, problems: dict[str, str]
) -> None:
    reply = known.send("POST", TRACK, body)
    assert reply.outcome == (400, "BadJsonBody")
    assert reply.json["params"] == problems
    assert sandbox.events() == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"eventName": "e"}, "BadParams"),
        ({"eventName": "e", "email": "ann"}, "InvalidEmailAddressError"),
        ({"eventName": "e", "userId": "u "}, "InvalidUserIdError"),
        ({"eventName": "e", "email": "bob@acme.com"}, "UnknownEmailError"),
        ({"eventName": "e", "userId": "u2"}, "UnknownUserIdError"),
        ({"eventName": "e", "email": EMAIL, "id": ""}, "BadParams"),
        ({"eventName": "e", "email": EMAIL, "id": "a_b"}, "BadParams"),
        ({"eventName": "e", "email": EMAIL, "id": "é"}, "BadParams"),
        ({"eventName": "e", "email": EMAIL, "id": "a" * 513}, "BadParams"),
        ({"eventName": "e", "email": EMAIL, "createdAt": -1}, "BadParams"),
        ({"eventName": "e", "email": EMAIL, "createdAt": 2**62}, "BadParams"),
    ],
)
def test_a_bad_event_is_refused(known: Any, sandbox: Any, body: dict[str, Any], code: str) -> None:
    assert known.track(**body).outcome == (400, code)
    assert sandbox.events() == []


def test_events_of_unknown_users_can_be_dropped_silently(known: Any, sandbox: Any) -> None:
    sandbox.settings(track_unknown_user="drop")
    assert known.track(email="bob@acme.com", eventName="e").outcome == (200, "Success")
    assert sandbox.events() == []
    assert sandbox.stats()["events_dropped"] == 1
    assert len(sandbox.users()) == 1


def test_a_disallowed_event_is_200_and_only_the_message_tells(known: Any, sandbox: Any) -> None:
    sandbox.settings(disallowed_event_names=["noise"])
    reply = known.track(email=EMAIL, eventName="noise")
    assert reply.outcome == (200, "Success")
    assert "is disallowed from tracking" in reply.json["msg"]
    assert sandbox.events() == []


def test_an_event_is_stored_and_read_back(known: Any, sandbox: Any) -> None:
    body = {"id": "a-1", "eventName": "page_view", "createdAt": 1768300000, "campaignId": 7, "templateId": 8}
    fields = {"page": "pricing", "at": "2026-01-13", "gone": None, "createdAt": "mine"}
    reply = known.track(email="Ann@acme.com", dataFields=fields, **body)
    assert reply.json == {
        "msg": "Event with id: a-1 tracked.",
        "code": "Success",
        "params": {"id": "a-1"},
    }
    event = {
        "id": "a-1",
        "eventName": "page_view",
        "createdAt": "2026-01-13 10:26:40 +00:00",
        "email": EMAIL,
        "userId": "u1",
        "dataFields": {"page": "pricing", "at": "2026-01-13 00:00:00 +00:00"},
        "campaignId": 7,
        "templateId": 8,
    }
    assert sandbox.events() == [event]
    assert known.get(f"/api/events/{EMAIL}").json == {"events": [event]}
    assert known.get("/api/events/byUserId/u1").json == {"events": [event]}


def test_an_event_without_id_and_time_gets_both(known: Any, sandbox: Any) -> None:
    before = int(time.time())
    ids = {known.track(userId="u1", eventName="e").json["params"]["id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", event_id) for event_id in ids)
    stamp = time.strptime(sandbox.events()[0]["createdAt"], "%Y-%m-%d %H:%M:%S +00:00")
    assert calendar.timegm(stamp) >= before


@pytest.mark.parametrize(
    ("created_at", "shown"),
    [
        (0, "1970-01-01 00:00:00 +00:00"),
        (1768300000, "2026-01-13 10:26:40 +00:00"),
        (1768300000123, "2026-01-13 10:26:40 +00:00"),
        (99_999_999_999, "5138-11-16 09:46:39 +00:00"),
        (100_000_000_000, "1973-03-03 09:46:40 +00:00"),
    ],
)
def test_created_at_is_seconds_or_from_a_size_on_milliseconds(
    known: Any, sandbox: Any, created_at: int, shown: str
) -> None:
    assert known.track(email=EMAIL, eventName="e", createdAt=created_at).status == 200
    assert sandbox.events()[0]["createdAt"] == shown


def test_an_event_with_a_known_id_overwrites_also_of_another_user(known: Any, sandbox: Any) -> None:
    known.update(email="bob@acme.com")
    known.track(email=EMAIL, eventName="e", id="1", dataFields={"a": 1, "b": 2})
    known.track(email=EMAIL, eventName="e", id="1", dataFields={"a": 3})
    assert known.get(f"/api/events/{EMAIL}").json["events"][0]["dataFields"] == {"a": 3}
    known.track(email="bob@acme.com", eventName="f", id="1")
    assert known.get(f"/api/events/{EMAIL}").json == {"events": []}
    assert [(event["email"], event["eventName"]) for event in sandbox.events()] == [("bob@acme.com", "f")]
    assert sandbox.stats()["events_overwritten"] == 2


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "1.5", "٣", "9" * 30])
def test_a_limit_out_of_bounds_is_refused(known: Any, limit: str) -> None:
    assert known.get(f"/api/events/{EMAIL}?limit={quote(limit)}").outcome == (400, "BadParams")


def test_the_newest_events_come_first_thirty_by_default(known: Any) -> None:
    for second in range(35):
        known.track(email=EMAIL, eventName="e", id=f"{second}", createdAt=1000 + second)
    newest = known.get(f"/api/events/{EMAIL}").json["events"]
    assert [event["id"] for event in newest] == [f"{second}" for second in range(34, 4, -1)]
    assert len(known.get(f"/api/events/{EMAIL}?limit=200").json["events"]) == 35
    assert len(known.get(f"/api/events/{EMAIL}?limit=1").json["events"]) == 1


@pytest.mark.parametrize("path", ["/api/events/bob@acme.com", "/api/events/byUserId/u2"])
def test_an_unknown_user_has_no_events(known: Any, path: str) -> None:
    assert known.get(path).json == {"events": []}


def test_a_malformed_email_has_no_events_either_but_an_error(known: Any) -> None:
    assert known.get("/api/events/ann").outcome == (400, "InvalidEmailAddressError")
