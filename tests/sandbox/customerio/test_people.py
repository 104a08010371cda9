"""People: by id, e-mail and cio_id; traits; anonymous visitors; aliases; suppression of what they send."""

from __future__ import annotations

from typing import Any

import pytest


def ids(cio: Any) -> list[tuple[str | None, str | None]]:
    return [(person["id"], person["email"]) for person in cio.state.people()]


def traits(cio: Any) -> dict[str, Any]:
    [person] = cio.state.people()
    found: dict[str, Any] = person["traits"]
    return found


@pytest.mark.parametrize("user_id", ["u3", "cio_000000000001"])
def test_an_email_of_another_person_is_not_taken_and_nothing_else_of_the_message(cio: Any, user_id: str) -> None:
    cio.identify("u1", plan="pro")
    cio.identify("u2", email="bob@acme.com")
    cio.identify(user_id, email="Bob@acme.com", plan="free")
    assert ids(cio) == [("u1", None), ("u2", "bob@acme.com")]
    assert cio.state.people(id="u1")[0]["traits"] == {"plan": "pro"}
    assert cio.dropped() == [("email_taken", None)]
    assert cio.state.dropped()[0]["strict"] is True


@pytest.mark.parametrize("endpoint", ["identify", "page"])
@pytest.mark.parametrize("user_id", ["cio_000000000099", "cio_x", "cio_", "cio_1"])
def test_an_unknown_cio_id_creates_nobody(cio: Any, endpoint: str, user_id: str) -> None:
    cio.identify("u1")
    cio.ok(endpoint, userId=user_id)
    assert ids(cio) == [("u1", None)]
    assert cio.dropped() == [("unknown_cio_id", None)]


def test_a_person_is_found_by_each_identifier(cio: Any) -> None:
    cio.identify("u1", email="Ann@Acme.com")
    [person] = cio.state.people()
    cio.identify("ANN@acme.com", by="email")
    cio.identify(f"cio_{person['cio_id']}", again="cio_id")
    assert ids(cio) == [("u1", "ann@acme.com")]
    assert traits(cio) == {"email": "ann@acme.com", "by": "email", "again": "cio_id"}


def test_a_user_id_that_is_an_email_sets_the_email_and_an_id_may_follow(cio: Any) -> None:
    cio.identify("ann@acme.com", plan="pro")
    assert ids(cio) == [(None, "ann@acme.com")]
    assert traits(cio) == {"plan": "pro", "email": "ann@acme.com"}
    cio.identify("u1", email="ann@acme.com")
    assert ids(cio) == [("u1", "ann@acme.com")]


def test_an_email_alone_identifies_when_the_settings_let_it(cio: Any, sandbox: Any) -> None:
    cio.ok("identify", traits={"email": "ann@acme.com"})
    assert ids(cio) == [(None, "ann@acme.com")]
    sandbox.settings(customerio={"identify_by_email_trait": False})
    assert cio.send("identify", {"traits": {"email": "bob@acme.com"}}).status == 400


def test_traits_are_merged_null_takes_one_away_and_nested_ones_are_replaced(cio: Any) -> None:
    cio.identify("u1", plan="pro", seats=3, address={"city": "Oslo", "zip": "0150"}, tags=["a"])
    cio.identify("u1", plan=None, seats=4, address={"city": "Bergen"})
    cio.identify("u1")
    assert traits(cio) == {"seats": 4, "address": {"city": "Bergen"}, "tags": ["a"]}


def test_an_email_changes_is_freed_and_can_be_taken_away_from_a_person_with_an_id(cio: Any) -> None:
    cio.identify("u1", email="ann@acme.com")
    cio.identify("u1", email="ann@example.org")
    cio.identify("u2", email="ann@acme.com")
    assert ids(cio) == [("u1", "ann@example.org"), ("u2", "ann@acme.com")]
    cio.identify("u1", email=None)
    assert cio.state.people(id="u1")[0]["traits"] == {}
    cio.identify("bob@acme.com", email=None)
    assert ids(cio)[2] == (None, "bob@acme.com")


def test_an_email_that_is_none_is_a_plain_trait(cio: Any) -> None:
    cio.identify("u1", email="nobody")
    assert (ids(cio), traits(cio)) == ([("u1", None)], {"email": "nobody"})


@pytest.mark.parametrize(
    ("value", "unsubscribed"),
    [(True, True), ("TRUE", True), (1, True), ("1", True), (False, False), ("no", False), (2, False), (1.0, False)],
)
def test_unsubscribed_has_several_spellings(cio: Any, value: object, unsubscribed: bool) -> None:
    cio.identify("u1", unsubscribed=value)
    assert cio.state.people()[0]["unsubscribed"] is unsubscribed


def test_preferences_are_merged_entry_by_entry_as_object_or_with_dots(cio: Any) -> None:
    name = "cio_subscription_preferences"
    cio.identify("u1", **{name: {"topics": {"topic_1": True, "topic_2": True}}})
    cio.identify("u1", **{f"{name}.topics.topic_1": False, f"{name}.channels.sms": True})
    cio.identify("u1", **{name: {"topics": {"topic_3": True}}})
    assert traits(cio) == {
        name: {"topics": {"topic_1": False, "topic_2": True, "topic_3": True}, "channels": {"sms": True}}
    }


def test_what_a_visitor_did_becomes_the_persons_on_identify_with_both_ids(cio: Any) -> None:
    cio.ok("track", anonymousId="a1", event="before")
    cio.ok("track", anonymousId="a2", event="other visitor")
    assert [event["person"] for event in cio.state.events()] == [None, None]
    cio.ok("identify", userId="u1", anonymousId="a1")
    [person] = cio.state.people()
    assert person["anonymousIds"] == ["a1"]
    assert [event["person"] for event in cio.state.events()] == [person["cio_id"], None]
    cio.ok("track", anonymousId="a1", event="after")
    assert cio.state.events(event="after")[0]["person"] is None
    cio.ok("page", userId="u1", anonymousId="a1")
    assert cio.state.count("events", person=person["cio_id"]) == 3
    assert cio.state.people()[0]["anonymousIds"] == ["a1"]


def test_an_anonymous_identify_creates_nobody(cio: Any) -> None:
    cio.ok("identify", anonymousId="a1", traits={"plan": "pro"})
    assert cio.state.people() == []
    assert cio.state.stats()["messages"] == {"identify": 1}


def test_events_create_people_unless_the_settings_forbid_it(cio: Any, sandbox: Any) -> None:
    cio.track("bob@acme.com", "e")
    assert (ids(cio), traits(cio)) == ([(None, "bob@acme.com")], {"email": "bob@acme.com"})
    sandbox.settings(customerio={"events_create_people": False})
    cio.track("u1", "e")
    cio.ok("group", groupId="g", userId="u1")
    assert cio.dropped() == [("unknown_person", None)] * 2
    assert (len(cio.state.people()), cio.state.records("objects")) == (1, [])
    cio.identify("u1")
    cio.track("u1", "e")
    assert len(cio.state.events()) == 2


def test_an_event_about_a_group_alone_belongs_to_nobody(cio: Any) -> None:
    cio.ok("track", event="e", groupId="g1")
    assert [(event["groupId"], event["person"]) for event in cio.state.events()] == [("g1", None)]


def test_an_alias_folds_one_person_into_the_other(cio: Any) -> None:
    cio.identify("old", email="ann@acme.com", plan="free", city="Oslo")
    cio.track("old", "e")
    cio.ok("group", groupId="g", userId="old", traits={"relationshipAttributes": {"role": "owner"}})
    cio.track("old", "Device Created or Updated", context={"device": {"token": "t1"}})
    cio.ok("identify", userId="old", anonymousId="a1")
    cio.identify("new", plan="pro")
    cio.ok("alias", userId="new", previousId="old")
    [person] = cio.state.people()
    assert (person["id"], person["email"], person["anonymousIds"]) == ("new", "ann@acme.com", ["a1"])
    assert person["traits"] == {"plan": "pro", "city": "Oslo", "email": "ann@acme.com"}
    assert [event["person"] for event in cio.state.events()] == [person["cio_id"]]
    assert [(entry["id"], entry["attributes"]) for entry in cio.state.records("relationships")] == [
        ("new", {"role": "owner"})
    ]
    assert [device["id"] for device in cio.state.records("devices")] == ["new"]
    cio.track("new", "User Deleted")
    stats = cio.state.stats()
    assert (stats["people"], stats["events"], stats["devices"], stats["relationships"]) == (0, 0, 0, 0)


def test_an_alias_of_a_visitor_an_unknown_or_the_same_person(cio: Any) -> None:
    cio.ok("track", anonymousId="a1", event="e")
    cio.ok("alias", userId="u1", previousId="a1")
    cio.ok("alias", userId="u1", previousId="u1")
    cio.ok("alias", userId="u9", previousId="nobody")
    [person] = cio.state.people()
    assert (person["id"], [event["person"] for event in cio.state.events()]) == ("u1", [person["cio_id"]])


def test_an_alias_may_be_ignored(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"alias": "ignore"})
    cio.identify("old")
    cio.ok("alias", userId="new", previousId="old")
    assert ids(cio) == [("old", None)]


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("identify", {"userId": "u1", "traits": {"plan": "pro"}}),
        ("track", {"userId": "u1", "event": "e"}),
        ("track", {"userId": "u1", "event": "Device Created or Updated", "context": {"device": {"token": "t"}}}),
        ("page", {"userId": "u1", "anonymousId": "a"}),
        ("screen", {"userId": "u1"}),
        ("group", {"userId": "u1", "groupId": "g"}),
        ("alias", {"userId": "u1", "previousId": "u2"}),
        ("identify", {"userId": "ANN@acme.com"}),
        ("identify", {"userId": "u9", "traits": {"email": "ann@acme.com"}}),
    ],
)
def test_a_suppressed_identifier_swallows_every_message(cio: Any, endpoint: str, message: dict[str, Any]) -> None:
    cio.identify("u2")
    cio.track("u1", "User Suppressed")
    cio.track("ann@acme.com", "User Suppressed")
    cio.ok(endpoint, **message)
    assert ids(cio) == [("u2", None)]
    assert (cio.state.events(), cio.state.records("objects"), cio.state.records("devices")) == ([], [], [])
    assert cio.dropped() == [("suppressed", None)]
