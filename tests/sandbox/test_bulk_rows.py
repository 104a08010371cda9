"""users/bulkUpdate and events/trackBulk: what becomes of each row, and in which list a refused one is named."""

from __future__ import annotations

from typing import Any

import pytest

ANN = "ann@acme.com"
BOB = "bob@acme.com"
CY = "cy@acme.com"


def outcome(reply: Any) -> tuple[int, int, dict[str, list[str]]]:
    """Successes, failures, and the lists of failedUpdates that have entries."""
    assert reply.status == 200
    answer = reply.json
    failed = {name: entries for name, entries in answer["failedUpdates"].items() if entries}
    return answer["successCount"], answer["failCount"], failed


@pytest.fixture
def known(api: Any) -> Any:
    """Two users, and a third who was forgotten."""
    api.update(email=ANN, userId="u1", dataFields={"seats": 1})
    api.update(email=BOB, userId="u2")
    api.update(email="gone@acme.com", userId="gone")
    api.send("POST", "/api/users/forget", {"email": "gone@acme.com"})
    return api


@pytest.mark.parametrize(
    ("row", "failed"),
    [
        ({"email": "No Body@Acme.com"}, {"invalidEmails": ["no body@acme.com"]}),
        ({"email": ""}, {"invalidEmails": [""]}),
        ({"userId": "u "}, {"invalidUserIds": ["u "]}),
        ({"email": CY, "userId": "u "}, {"invalidUserIds": ["u "]}),
        ({"email": "Bad", "userId": "u3"}, {"invalidEmails": ["bad"]}),
        ({"email": ANN, "dataFields": {"email": "Bad"}}, {"invalidEmails": ["bad"]}),
        ({"email": ANN, "dataFields": {"userId": ""}}, {"invalidUserIds": [""]}),
        ({"email": "Ann@acme.com", "dataFields": {"email": 7}}, {"invalidDataEmails": [ANN]}),
        ({"userId": "u1", "dataFields": {"userId": 7}}, {"invalidDataUserIds": ["u1"]}),
        ({"email": "Gone@acme.com"}, {"forgottenEmails": ["gone@acme.com"]}),
        ({"userId": "gone"}, {"forgottenUserIds": ["gone"]}),
        ({"email": CY, "userId": "gone"}, {"forgottenUserIds": ["gone"]}),
        ({"email": "gone@acme.com", "userId": "gone"}, {"forgottenEmails": ["gone@acme.com"]}),
        ({"email": ANN, "dataFields": {"email": "gone@acme.com"}}, {"forgottenEmails": ["gone@acme.com"]}),
        ({"email": ANN, "userId": "u2"}, {"conflictUserIds": ["u2"]}),
        ({"email": ANN, "userId": "u9"}, {"conflictUserIds": ["u1"]}),
        ({"email": CY, "userId": "u1"}, {"conflictEmails": [ANN]}),
        ({"email": ANN, "dataFields": {"email": BOB}}, {"conflictEmails": [BOB]}),
        ({"email": ANN, "dataFields": {"userId": "u2"}}, {"conflictUserIds": ["u2"]}),
        ({}, {}),
        ({"dataFields": {"a": 1}}, {}),
    ],
)
def test_a_refused_user_is_listed_by_what_failed_and_the_others_are_applied(
    known: Any, sandbox: Any, row: dict[str, Any], failed: dict[str, list[str]]
) -> None:
    reply = known.bulk_update({"email": "first@acme.com"}, row, {"email": "last@acme.com"})
    assert outcome(reply) == (2, 1, failed)
    users = {(user["email"], user["userId"]) for user in sandbox.users()}
    assert users == {(ANN, "u1"), (BOB, "u2"), ("first@acme.com", None), ("last@acme.com", None)}


@pytest.mark.parametrize(
    ("event", "failed"),
    [
        ({"email": "Bad"}, {"invalidEmails": ["bad"]}),
        ({"email": ANN, "userId": "u "}, {"invalidUserIds": ["u "]}),
        ({"email": "Nobody@acme.com"}, {"notFoundEmails": ["nobody@acme.com"]}),
        ({"email": "nobody@acme.com", "userId": "u1"}, {"notFoundEmails": ["nobody@acme.com"]}),
        ({"userId": "u9"}, {"notFoundUserIds": ["u9"]}),
        ({"email": "gone@acme.com"}, {"forgottenEmails": ["gone@acme.com"]}),
        ({"email": ANN, "userId": "gone"}, {"forgottenUserIds": ["gone"]}),
        ({"email": "Ann@acme.com", "id": "a_b"}, {"invalidEmails": [ANN]}),
        ({"userId": "u1", "createdAt": -1}, {"invalidUserIds": ["u1"]}),
        ({}, {}),
    ],
)
@pytest.mark.parametrize("unknown", ["reject", "drop"])
def test_a_refused_event_is_listed_by_what_failed_and_the_others_are_stored(
    known: Any, sandbox: Any, unknown: str, event: dict[str, Any], failed: dict[str, list[str]]
) -> None:
    sandbox.settings(track_unknown_user=unknown)
    good = {"email": ANN, "eventName": "e"}
    reply = known.track_bulk({**good, "id": "1"}, {"eventName": "e", **event}, {**good, "id": "2"})
    assert outcome(reply) == (2, 1, failed)
    assert [stored["id"] for stored in sandbox.events()] == ["1", "2"]
    assert sandbox.stats()["events_dropped"] == 0


def test_invalid_identifiers_are_repeated_in_the_deprecated_lists(api: Any) -> None:
    for answer in (
        api.bulk_update({"email": "Bad"}, {"userId": "u "}).json,
        api.track_bulk({"email": "Bad", "eventName": "e"}, {"userId": "u ", "eventName": "e"}).json,
    ):
        assert (answer["invalidEmails"], answer["invalidUserIds"]) == (["bad"], ["u "])


def test_a_row_twice_in_one_request_counts_twice(known: Any, sandbox: Any) -> None:
    bad = {"email": "Bad"}
    assert outcome(known.bulk_update(bad, {"email": CY}, bad, {"email": "CY@acme.com"})) == (
        2,
        2,
        {"invalidEmails": ["bad", "bad"]},
    )
    lost = {"userId": "u9", "eventName": "e"}
    assert outcome(known.track_bulk(lost, lost)) == (0, 2, {"notFoundUserIds": ["u9", "u9"]})
    assert len(sandbox.users()) == 3


def test_rows_are_applied_in_order_and_see_those_before_them(api: Any, sandbox: Any) -> None:
    reply = api.bulk_update(
        {"email": ANN, "dataFields": {"a": 1, "o": {"x": 1}}},
        {"email": ANN, "userId": "u1", "dataFields": {"a": 2, "o": {"y": 2}}, "mergeNestedObjects": True},
        {"userId": "u1", "dataFields": {"b": 3}},
        {"email": BOB, "userId": "u1"},
    )
    assert outcome(reply) == (3, 1, {"conflictEmails": [ANN]})
    assert sandbox.users() == [{"email": ANN, "userId": "u1", "dataFields": {"a": 2, "o": {"x": 1, "y": 2}, "b": 3}}]


def test_an_event_id_twice_in_one_request_is_one_event(known: Any, sandbox: Any) -> None:
    first = {"email": ANN, "eventName": "e", "id": "1", "createdAt": 1000}
    reply = known.track_bulk(first, {**first, "createdAt": 2000}, {**first, "id": "2"})
    assert outcome(reply) == (3, 0, {})
    assert [(event["id"], event["createdAt"][11:19]) for event in sandbox.events()] == [
        ("1", "00:33:20"),
        ("2", "00:16:40"),
    ]
    assert sandbox.stats()["events_overwritten"] == 1


@pytest.mark.parametrize(("users_only", "list_name"), [("invalid", "invalidUserIds"), ("not_found", "notFoundUserIds")])
def test_an_unknown_user_id_in_an_email_based_project(api: Any, sandbox: Any, users_only: str, list_name: str) -> None:
    sandbox.settings(project_type="email", bulk_unknown_user_id=users_only)
    reply = api.bulk_update({"userId": "u1"}, {"userId": "u2", "preferUserId": True})
    assert outcome(reply) == (1, 1, {list_name: ["u1"]})
    assert [user["userId"] for user in sandbox.users()] == ["u2"]


def test_a_user_id_based_project_refuses_rows_without_user_id(api: Any, sandbox: Any) -> None:
    sandbox.settings(project_type="userid")
    assert outcome(api.bulk_update({"email": "Ann@acme.com"}, {"userId": "u1"})) == (
        1,
        1,
        {"invalidDataEmails": [ANN]},
    )


def test_a_type_mismatch_can_refuse_its_row_only(known: Any, sandbox: Any) -> None:
    sandbox.settings(bulk_type_mismatch="row")
    reply = known.bulk_update(
        {"email": CY, "dataFields": {"fresh": 1}},
        {"email": "Ann@acme.com", "dataFields": {"seats": "x", "never": 1}},
        {"userId": "u2", "dataFields": {"fresh": "x"}},
    )
    assert outcome(reply) == (1, 2, {"invalidDataEmails": [ANN], "invalidDataUserIds": ["u2"]})
    assert reply.json["createdFields"] == ["fresh"]
    assert "never" not in known.get("/api/users/getFields").json["fields"]
    good = {"email": ANN, "eventName": "e", "dataFields": {"n": 1}}
    assert outcome(known.track_bulk(good, {**good, "dataFields": {"n": "x"}})) == (1, 1, {"invalidEmails": [ANN]})


@pytest.mark.parametrize(("fails", "counts"), [(True, (1, 2)), (False, (3, 0))])
def test_disallowed_events_are_named_once_and_counted_as_failures_or_not(
    known: Any, sandbox: Any, fails: bool, counts: tuple[int, int]
) -> None:
    sandbox.settings(disallowed_event_names=["noise"], disallowed_events_fail=fails)
    noise = {"email": ANN, "eventName": "noise"}
    reply = known.track_bulk(noise, noise, {"email": ANN, "eventName": "e"})
    assert outcome(reply) == (*counts, {})
    assert reply.json["disallowedEventNames"] == ["noise"]
    assert [event["eventName"] for event in sandbox.events()] == ["e"]


@pytest.mark.parametrize(
    ("project_takes", "request_takes", "kept"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
def test_new_user_fields_are_created_or_filtered_out_by_the_request_or_the_project(
    known: Any, sandbox: Any, project_takes: bool, request_takes: bool | None, kept: bool
) -> None:
    known.update(email=ANN, dataFields={"o": {"x": 1}})
    sandbox.settings(create_new_fields=project_takes)
    new = ["a", "o.y"]
    fields = {"seats": 2, "a": 1, "o": {"x": 2, "y": 3}}
    top = {} if request_takes is None else {"createNewFields": request_takes}
    answer = known.bulk_update({"email": ANN, "dataFields": fields}, {"email": BOB, "dataFields": fields}, **top).json
    assert (answer["successCount"], answer["failCount"]) == (2, 0)
    assert (answer["createdFields"], answer["filteredOutFields"]) == ((new, []) if kept else ([], new))
    assert known.fields_of(BOB) == (fields if kept else {"seats": 2, "o": {"x": 2}})


def test_each_event_says_for_itself_whether_it_creates_fields(known: Any, sandbox: Any) -> None:
    event = {"email": ANN, "eventName": "e"}
    answer = known.track_bulk(
        {**event, "dataFields": {"a": 1}, "createNewFields": False},
        {**event, "dataFields": {"b": 1}},
    ).json
    assert (answer["createdFields"], answer["filteredOutFields"]) == (["b"], ["a"])
    assert [stored["dataFields"] for stored in sandbox.events()] == [{}, {"b": 1}]


def test_users_of_a_bulk_request_become_visible_after_the_delay(api: Any, sandbox: Any) -> None:
    sandbox.settings(visibility_delay_seconds=3600)
    api.bulk_update({"email": ANN, "userId": "u1"})
    reply = api.track_bulk({"email": ANN, "eventName": "e"}, {"userId": "u1", "eventName": "e"})
    assert outcome(reply) == (0, 2, {"notFoundEmails": [ANN], "notFoundUserIds": ["u1"]})
    assert len(sandbox.users()) == 1


def test_single_and_bulk_calls_write_the_same(api: Any, sandbox: Any) -> None:
    user = {"email": ANN, "userId": "u1", "dataFields": {"at": "2026-01-13", "o": {"x": None, "y": [1]}, "null": None}}
    event = {"email": ANN, "eventName": "e", "id": "1", "createdAt": 1768300000, "dataFields": {"at": "2026-01-13"}}
    api.update(**user)
    api.track(**event)
    single = sandbox.users(), sandbox.events(), api.get("/api/users/getFields").json
    sandbox.reset()
    api.bulk_update(user)
    api.track_bulk(event)
    assert (sandbox.users(), sandbox.events(), api.get("/api/users/getFields").json) == single
