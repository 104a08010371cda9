"""Strict and permissive mode: what is refused, how it is said, and what the dropped log shows instead."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest

from reverse_etl.sandbox.customerio.reasons import LOST, REASONS, REFUSED

PERSON = {"userId": "u1"}
TRACK = {"event": "e", **PERSON}

# endpoint, message, code, text of the 400
WRONG: list[tuple[str, Any, str, str]] = [
    ("identify", [], "not_an_object", "the message is not a JSON object"),
    ("identify", "x", "not_an_object", "the message is not a JSON object"),
    ("identify", {}, "no_person", "userId or anonymousId is required"),
    ("identify", {"userId": ""}, "no_person", "userId or anonymousId is required"),
    ("identify", {"userId": None, "anonymousId": None}, "no_person", "userId or anonymousId is required"),
    ("identify", {"traits": {"email": 7}}, "no_person", "userId or anonymousId is required"),
    ("identify", {"userId": 7}, "wrong_type", "userId must be a string"),
    ("identify", {"userId": True}, "wrong_type", "userId must be a string"),
    ("identify", {**PERSON, "traits": []}, "wrong_type", "traits must be an object"),
    ("identify", {**PERSON, "traits": "x"}, "wrong_type", "traits must be an object"),
    ("identify", {**PERSON, "context": []}, "wrong_type", "context must be an object"),
    ("identify", {**PERSON, "integrations": []}, "wrong_type", "integrations must be an object"),
    ("identify", {**PERSON, "messageId": 7}, "wrong_type", "messageId must be a string"),
    ("identify", {**PERSON, "type": "track"}, "other_type", "type must be identify or absent on this path"),
    ("identify", {**PERSON, "timestamp": 1768300000}, "wrong_type", "timestamp must be a string"),
    ("track", TRACK | {"event": None}, "no_event", "event is required"),
    ("track", TRACK | {"event": "  "}, "no_event", "event is required"),
    ("track", TRACK | {"event": 3}, "wrong_type", "event must be a string"),
    ("track", TRACK | {"properties": []}, "wrong_type", "properties must be an object"),
    ("track", {"event": "e"}, "no_person", "userId or anonymousId is required"),
    ("page", {"name": "p"}, "no_person", "userId or anonymousId is required"),
    ("page", {**PERSON, "name": 1}, "wrong_type", "name must be a string"),
    ("screen", {"name": "p"}, "no_person", "userId or anonymousId is required"),
    ("group", PERSON, "no_group", "groupId is required"),
    ("group", {"groupId": ""}, "no_group", "groupId is required"),
    ("group", {"groupId": 4}, "wrong_type", "groupId must be a string"),
    ("alias", PERSON, "no_previous", "userId and previousId are required"),
    ("alias", {"previousId": "u1"}, "no_previous", "userId and previousId are required"),
    ("batch", [], "not_an_object", "the message is not a JSON object"),
    ("batch", {}, "no_batch", "batch is required and must be an array"),
    ("batch", {"batch": None}, "no_batch", "batch is required and must be an array"),
    ("batch", {"batch": {}}, "no_batch", "batch is required and must be an array"),
    ("batch", {"batch": [], "context": 1}, "wrong_type", "context must be an object"),
]

BAD_TIMES = [
    "",
    "yesterday",
    "2026-01-13",
    "2026-01-13 10:00:00Z",
    "2026-01-13T10:00:00",
    "2026-02-30T10:00:00Z",
    "2026-01-13T25:00:00Z",
    "1768300000",
]


@pytest.mark.parametrize(("endpoint", "message", "code", "text"), WRONG)
def test_strict_mode_says_what_is_wrong_and_stores_nothing(
    cio: Any, endpoint: str, message: Any, code: str, text: str
) -> None:
    reply = cio.send(endpoint, message)
    assert (reply.status, reply.json) == (400, {"meta": {"errors": [text]}})
    assert cio.state.dropped() == []
    stats = cio.state.stats()
    assert (stats["people"], stats["events"], stats["objects"], stats["messages"]) == (0, 0, 0, {})


@pytest.mark.parametrize("strict", [None, "0", "true", "", " 1 1"])
@pytest.mark.parametrize(("endpoint", "message", "code", "text"), WRONG)
def test_any_other_mode_answers_200_and_the_dropped_log_has_the_reason(
    cio: Any, endpoint: str, message: Any, code: str, text: str, strict: str | None
) -> None:
    reply = cio.send(endpoint, message, strict=strict)
    assert (reply.status, reply.json) == (200, {"success": True})
    [entry] = cio.state.dropped()
    assert (entry["reason"], entry["detail"], entry["endpoint"]) == (code, text, f"POST /v1/{endpoint}")
    assert entry["strict"] is False
    assert cio.state.stats()["messages"] == {}


@pytest.mark.parametrize("name", ["timestamp", "originalTimestamp", "sentAt"])
@pytest.mark.parametrize("value", BAD_TIMES)
def test_a_time_is_an_iso_date_time_with_a_zone(cio: Any, name: str, value: str) -> None:
    reply = cio.send("track", {**TRACK, name: value})
    assert reply.status == 400
    assert reply.json["meta"]["errors"] == [f"{name} must be an ISO-8601 date-time with a zone"]


@pytest.mark.parametrize("value", ["2026-01-13T10:00:00Z", "2026-01-13T10:00:00.123456+02:00", "2026-01-13T10:00Z"])
def test_times_with_a_zone_are_taken(cio: Any, value: str) -> None:
    cio.track("u1", "e", timestamp=value)
    assert cio.state.events()[0]["timestamp"] == value


def test_a_setting_takes_times_without_a_zone(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"zoneless_timestamps": "accept"})
    cio.track("u1", "e", timestamp="2026-01-13T10:00:00")


@pytest.mark.parametrize("body", [b"", b"{", b'{"userId": NaN}', b"\xff", b'{"userId": "u1"} x'])
@pytest.mark.parametrize("strict", ["1", None])
def test_what_is_not_json_is_400_in_both_modes(cio: Any, body: bytes, strict: str | None) -> None:
    reply = cio.send("identify", body, strict=strict)
    assert (reply.status, reply.json) == (400, {"meta": {"errors": ["the body is not JSON"]}})


def test_a_setting_lets_permissive_mode_lose_what_is_not_json(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"permissive_bad_json_status": 200})
    assert cio.send("identify", b"{", strict=None).status == 200
    assert cio.dropped() == [("bad_json", None)]
    assert cio.send("identify", b"{").status == 400


GOOD = {"type": "track", "event": "e", "userId": "u1"}


def test_a_bad_item_refuses_a_strict_batch_as_a_whole_and_names_each_index(cio: Any) -> None:
    reply = cio.batch(GOOD, {"type": "track", "event": "e"}, GOOD | {"messageId": "m"}, {"type": "delete"}, 7)
    assert reply.status == 400
    assert reply.json["meta"]["errors"] == [
        "batch[1]: userId or anonymousId is required",
        "batch[3]: type must be one of identify, track, page, screen, group, alias",
        "batch[4]: the message is not a JSON object",
    ]
    assert (cio.state.events(), cio.state.people(), cio.state.dropped()) == ([], [], [])
    assert cio.batch(GOOD | {"messageId": "m"}).status == 200
    assert cio.state.stats()["duplicates"] == 0


def test_a_bad_item_of_a_permissive_batch_is_dropped_and_the_others_are_stored(cio: Any) -> None:
    items = (GOOD, {"type": "track", "event": "e", "messageId": "m2"}, GOOD, {}, None)
    assert cio.batch(*items, strict=None).json == {"success": True}
    assert len(cio.state.events()) == 2
    assert cio.dropped() == [("no_person", 1), ("unknown_type", 3), ("not_an_object", 4)]
    assert cio.state.dropped(messageId="m2")[0]["event"] == "e"


def test_a_setting_lets_a_strict_batch_store_its_good_items(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"strict_bad_item": "item"})
    reply = cio.batch(GOOD, {"type": "track"}, GOOD)
    assert (reply.status, reply.json["meta"]["errors"]) == (400, ["batch[1]: event is required"])
    assert len(cio.state.events()) == 2
    assert cio.state.dropped() == []


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("meta_errors", {"meta": {"errors": ["batch[0]: event is required", "batch[1]: groupId is required"]}}),
        ("meta_error", {"meta": {"error": "batch[0]: event is required; batch[1]: groupId is required"}}),
        (
            "errors",
            {
                "errors": [
                    {"reason": "invalid", "field": "batch[0]", "message": "event is required"},
                    {"reason": "invalid", "field": "batch[1]", "message": "groupId is required"},
                ]
            },
        ),
        ("code", {"code": "bad_request", "message": "batch[0]: event is required; batch[1]: groupId is required"}),
        ("text", b"batch[0]: event is required; batch[1]: groupId is required"),
    ],
)
def test_errors_come_in_each_shape_a_client_has_to_expect(cio: Any, sandbox: Any, shape: str, body: Any) -> None:
    sandbox.settings(customerio={"error_shape": shape})
    reply = cio.batch({"type": "track"}, {"type": "group"})
    assert reply.status == 400
    assert (reply.body if isinstance(body, bytes) else reply.json) == body
    assert reply.headers["content-type"].startswith("text/plain" if shape == "text" else "application/json")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_only_post_is_allowed(cio: Any, method: str) -> None:
    reply = cio.send("identify", PERSON, method=method)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("endpoint", ["nothing", "identify/", "Identify", "batch/1", ""])
def test_an_unknown_path_is_404(cio: Any, endpoint: str) -> None:
    assert cio.send(endpoint, PERSON).status == 404


def test_a_setting_makes_the_success_an_empty_object(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"success_body": "empty"})
    assert [cio.send("identify", PERSON).json, cio.batch(GOOD).json] == [{}, {}]


def test_an_empty_batch_is_taken(cio: Any) -> None:
    assert cio.batch().json == {"success": True}


def test_null_is_absent_at_every_top_level_field(cio: Any) -> None:
    nulls = dict.fromkeys(
        ("type", "anonymousId", "messageId", "timestamp", "context", "integrations", "properties", "name", "category")
    )
    cio.ok("track", **TRACK, **nulls)
    assert cio.batch({**nulls, **GOOD}, context=None, sentAt=None).status == 200
    for event in cio.state.events():
        assert None not in (value for name, value in event.items())


def test_what_the_service_sets_is_set(cio: Any) -> None:
    cio.ok("page", userId="u1", receivedAt="never", version=99)
    [event] = cio.state.events()
    assert (event["type"], event["version"]) == ("page", 1)
    assert event["receivedAt"] == event["timestamp"]
    assert event["receivedAt"].endswith("Z")
    assert len(event["messageId"]) == 36


def test_a_context_of_the_batch_is_a_default_and_integrations_of_it_have_no_effect(cio: Any) -> None:
    cio.batch(GOOD, GOOD | {"context": {"ip": "2"}}, context={"ip": "1"}, integrations={"All": False})
    events = cio.state.events()
    assert [event["context"] for event in events] == [{"ip": "1"}, {"ip": "2"}]
    assert not any("integrations" in event for event in events)


def test_a_gzipped_body_is_taken_and_a_broken_one_is_not_json(cio: Any) -> None:
    headers = {"Content-Encoding": "gzip"}
    body = gzip.compress(orjson.dumps({"batch": [GOOD] * 100}))
    assert cio.send("batch", body, headers=headers).status == 200
    assert len(cio.state.events()) == 100
    assert cio.send("batch", body[:-20], headers=headers).status == 400
    assert cio.send("batch", b"{}", headers=headers).status == 400


def test_unicode_and_thousands_of_properties_arrive_as_they_were(cio: Any) -> None:
    properties = {f"p{number}": number for number in range(2000)} | {"name": "Zoë 🦔 Ωmega"}
    cio.track("ü-1", "Zoë's  event ", properties=properties)
    [event] = cio.state.events()
    assert (event["userId"], event["event"], event["properties"]) == ("ü-1", "Zoë's  event", properties)


def test_the_reasons_of_both_groups_are_distinct() -> None:
    assert len(REASONS) == len(REFUSED) + len(LOST)


def test_the_dropped_log_keeps_the_newest_and_counts_all(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"keep_dropped": 2})
    cio.batch({}, [], {"type": "track"}, strict=None)
    assert cio.dropped() == [("not_an_object", 1), ("no_event", 2)]
    assert cio.state.stats()["dropped"] == {"unknown_type": 1, "not_an_object": 1, "no_event": 1}
    sandbox.settings(customerio={"keep_dropped": 0})
    assert cio.dropped() == []
