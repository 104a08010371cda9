"""Events that act: on people, devices, objects and relationships."""

from __future__ import annotations

from typing import Any

import pytest

from reverse_etl.sandbox.customerio.semantic import ACTIONS

DEVICE = "Device Created or Updated"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"event": "User Deleted"}, "needs_user_id"),
        ({"event": "User Suppressed"}, "needs_user_id"),
        ({"event": "User Unsuppressed"}, "needs_user_id"),
        ({"event": DEVICE, "context": {"device": {"token": "t"}}}, "needs_user_id"),
        ({"event": DEVICE, "userId": "u1"}, "needs_device_token"),
        ({"event": DEVICE, "userId": "u1", "context": {"device": None}}, "needs_device_token"),
        ({"event": DEVICE, "userId": "u1", "context": {"device": {"token": ""}}}, "needs_device_token"),
        ({"event": DEVICE, "userId": "u1", "context": {"device": {"token": 7}}}, "needs_device_token"),
        ({"event": DEVICE, "userId": "u1", "properties": {"device": {"token": "t"}}}, "needs_device_token"),
        ({"event": "Device Deleted", "userId": "u1"}, "needs_device_token"),
        ({"event": "Object Deleted"}, "needs_object_id"),
        ({"event": "Object Deleted", "properties": {"objectId": ["g"]}}, "needs_object_id"),
        ({"event": "Object Deleted", "properties": {"objectId": "g", "objectTypeId": "x"}}, "bad_object_type"),
        ({"event": "Object Deleted", "properties": {"objectId": "g", "objectTypeId": True}}, "bad_object_type"),
        ({"event": "Relationship Deleted", "properties": {"objectId": "g"}}, "needs_user_id"),
        ({"event": "Relationship Deleted", "userId": "u1"}, "needs_object_id"),
        ({"event": "User Suppressed", "userId": "cio_1"}, "unknown_cio_id"),
    ],
)
def test_what_is_missing_is_200_in_strict_mode_too_and_only_the_dropped_log_says_so(
    cio: Any, message: dict[str, Any], reason: str
) -> None:
    cio.ok("track", anonymousId="any", **message)
    assert cio.dropped() == [(reason, None)]
    stats = cio.state.stats()
    assert (stats["people"], stats["events"], stats["suppressed"], stats["acted"]) == (0, 0, 0, {})


@pytest.mark.parametrize("name", ["user deleted", "User  Deleted", "Delete Person", "UserDeleted"])
def test_names_are_matched_as_they_are_written_and_others_are_plain_events(cio: Any, name: str) -> None:
    cio.identify("u1")
    cio.track("u1", name)
    assert (len(cio.state.people()), [event["event"] for event in cio.state.events()]) == (1, [name])


def test_blanks_around_a_name_are_trimmed(cio: Any) -> None:
    cio.identify("u1")
    cio.track("u1", "  User Deleted ")
    assert cio.state.people() == []


@pytest.mark.parametrize("identifier", ["u1", "ann@acme.com", "cio"])
def test_a_deleted_person_takes_everything_along_and_may_come_back_empty(cio: Any, identifier: str) -> None:
    cio.identify("u1", email="ann@acme.com", plan="pro")
    cio.track("u1", "e")
    cio.track("u2", "e")
    cio.track("u1", DEVICE, context={"device": {"token": "t"}})
    cio.ok("group", groupId="g", userId="u1")
    user_id = f"cio_{cio.state.people(id='u1')[0]['cio_id']}" if identifier == "cio" else identifier
    cio.track(user_id, "User Deleted", properties={"ignored": True})
    cio.track(user_id, "User Deleted")
    stats = cio.state.stats()
    assert (stats["people"], stats["events"], stats["devices"], stats["relationships"]) == (1, 1, 0, 0)
    assert stats["objects"] == 1
    assert stats["acted"]["User Deleted"] == 2
    assert [event["userId"] for event in cio.state.events()] == ["u2"]
    cio.identify("u1", email="ann@acme.com")
    assert cio.state.people(id="u1")[0]["traits"] == {"email": "ann@acme.com"}
    assert cio.state.count("events", userId="u1") == 0


def test_what_a_visitor_did_goes_with_the_person(cio: Any) -> None:
    cio.ok("track", anonymousId="a1", event="e")
    cio.ok("identify", userId="u1", anonymousId="a1")
    cio.track("u1", "User Deleted")
    assert (cio.state.events(), cio.state.stats()["events"]) == ([], 0)


def test_suppressing_deletes_and_blocks_until_unsuppressed_which_restores_nothing(cio: Any) -> None:
    cio.identify("u1", plan="pro")
    for _ in range(2):
        cio.track("u1", "User Suppressed")
    assert (cio.state.people(), cio.state.records("suppressed")) == ([], [{"identifier": "u1"}])
    cio.track("u1", "User Unsuppressed")
    cio.track("u1", "User Unsuppressed")
    assert (cio.state.people(), cio.state.records("suppressed")) == ([], [])
    cio.identify("u1")
    assert cio.state.people()[0]["traits"] == {}


def test_suppressing_a_cio_id_blocks_the_identifiers_of_the_person(cio: Any) -> None:
    cio.identify("u1", email="Ann@acme.com")
    cio.track(f"cio_{cio.state.people()[0]['cio_id']}", "User Suppressed")
    assert [entry["identifier"] for entry in cio.state.records("suppressed")] == ["u1", "ann@acme.com"]


def test_unsubscribing_is_not_suppressing(cio: Any) -> None:
    cio.identify("u1", unsubscribed=True)
    assert (len(cio.state.people()), cio.state.records("suppressed")) == (1, [])


def test_a_device_is_kept_by_its_token_and_moves_with_it(cio: Any) -> None:
    context = {"device": {"token": "t1", "type": "ios"}, "app": {"namespace": "com.acme.app"}}
    cio.track("u1", DEVICE, context=context, properties={"v": 1}, timestamp="2026-01-13T10:00:00Z")
    [device] = cio.state.records("devices")
    assert device == {
        "cio_id": "000000000001",
        "id": "u1",
        "email": None,
        "token": "t1",
        "type": "ios",
        "app": "com.acme.app",
        "attributes": {"v": 1},
        "updatedAt": "2026-01-13T10:00:00Z",
    }
    cio.track("u2", DEVICE, context={"device": {"token": "t1", "type": "web"}})
    [device] = cio.state.records("devices")
    assert (device["id"], device["type"], device["attributes"]) == ("u2", "web", {})
    cio.track("u1", "Device Deleted", context=context)
    cio.track("u9", "Device Deleted", context=context)
    assert cio.state.count("devices") == 1
    cio.track("u2", "Device Deleted", context=context)
    assert cio.state.records("devices") == []
    assert cio.state.events() == []


def test_a_group_call_makes_an_object_and_relates_the_person(cio: Any) -> None:
    cio.ok("group", groupId="g1", traits={"name": "Acme"})
    cio.ok("group", groupId="g1", userId="u1", traits={"seats": 3, "relationshipAttributes": {"role": "owner"}})
    cio.ok("group", groupId="g1", userId="u1", traits={"name": None, "relationshipAttributes": {"since": 2020}})
    cio.ok("group", groupId="g1", userId="u2", anonymousId="a2")
    cio.ok("group", groupId="g1", anonymousId="a3")
    assert cio.state.records("objects") == [
        {"objectTypeId": "1", "objectId": "g1", "attributes": {"seats": 3}, "people": 2}
    ]
    related = [(entry["id"], entry["objectId"], entry["attributes"]) for entry in cio.state.records("relationships")]
    assert related == [("u1", "g1", {"role": "owner", "since": 2020}), ("u2", "g1", {})]
    assert cio.state.people(id="u2")[0]["anonymousIds"] == ["a2"]


@pytest.mark.parametrize(
    ("message", "type_id"),
    [
        ({}, "1"),
        ({"traits": {"objectTypeId": "2"}}, "2"),
        ({"traits": {"objectTypeId": 2}}, "2"),
        ({"traits": {"object_type_id": "3"}}, "3"),
        ({"traits": {"objectTypeId": None}}, "1"),
        ({"objectTypeId": "2"}, "1"),
    ],
)
def test_the_type_of_an_object_is_a_trait(cio: Any, message: dict[str, Any], type_id: str) -> None:
    cio.ok("group", groupId="g1", **message)
    [entry] = cio.state.records("objects")
    assert (entry["objectTypeId"], entry["attributes"]) == (type_id, {})


@pytest.mark.parametrize("value", ["company", "", 1.5, True, [], "٣"])
def test_a_type_that_is_no_whole_number_has_no_effect(cio: Any, value: object) -> None:
    cio.ok("group", groupId="g1", userId="u1", traits={"objectTypeId": value})
    assert (cio.state.records("objects"), cio.state.people()) == ([], [])
    assert cio.dropped() == [("bad_object_type", None)]


@pytest.mark.parametrize(
    "message",
    [
        {"event": "Object Deleted", "properties": {"objectId": "7", "objectTypeId": "2"}},
        {"event": "Object Deleted", "properties": {"objectId": 7, "objectTypeId": 2}},
        {"event": "Object Deleted", "groupId": "7", "properties": {"objectTypeId": 2}},
        {"event": "Group Deleted", "properties": {"objectId": "7", "objectTypeId": "2"}},
    ],
)
def test_an_object_is_deleted_with_its_relationships_and_only_that_of_the_type(
    cio: Any, message: dict[str, Any]
) -> None:
    for type_id in ("1", "2"):
        cio.ok("group", groupId="7", userId="u1", traits={"objectTypeId": type_id})
    for _ in range(2):
        cio.ok("track", anonymousId="any", **message)
    assert [entry["objectTypeId"] for entry in cio.state.records("objects")] == ["1"]
    assert [entry["objectTypeId"] for entry in cio.state.records("relationships")] == ["1"]


def test_a_relationship_ends_and_person_and_object_stay(cio: Any) -> None:
    cio.ok("group", groupId="g", userId="u1")
    cio.ok("group", groupId="g", userId="u2")
    for user_id in ("u1", "u1", "nobody"):
        cio.track(user_id, "Relationship Deleted", properties={"objectId": "g"})
    cio.track("u2", "Relationship Deleted", properties={"objectId": "other"})
    assert [entry["id"] for entry in cio.state.records("relationships")] == ["u2"]
    stats = cio.state.stats()
    assert (stats["people"], stats["objects"], stats["relationships"]) == (2, 1, 1)


@pytest.mark.parametrize("name", ["Order Completed", "Report Delivery Event", "Location Update"])
def test_other_semantic_events_are_stored(cio: Any, name: str) -> None:
    assert name not in ACTIONS
    cio.ok("track", event=name, anonymousId="any", properties={"order_id": "o1"})
    assert cio.state.count("events", event=name, **{"properties.order_id": "o1"}) == 1
