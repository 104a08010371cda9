"""users/bulkUpdate and events/trackBulk: what refuses a whole request, and the forms of the answer."""

from __future__ import annotations

from typing import Any

import pytest

USERS = "/api/users/bulkUpdate"
EVENTS = "/api/events/trackBulk"
ANN = "ann@acme.com"
BOB = "bob@acme.com"
CY = "cy@acme.com"


def state_of(sandbox: Any) -> tuple[Any, ...]:
    counts = ("users", "events", "events_overwritten", "events_dropped", "reserved_fields_ignored")
    stats = sandbox.stats()
    fields = sandbox.get("/api/users/getFields")
    users = sorted(sandbox.users(), key=lambda user: user["email"])
    return users, sandbox.events(), fields, {name: stats[name] for name in counts}


@pytest.mark.parametrize(
    ("path", "body", "problems"),
    [
        (USERS, b"{broken", {"obj": "Valid JSON expected"}),
        (USERS, [], {"obj": "Object value expected"}),
        (USERS, {}, {"obj.users": "Required value is missing"}),
        (USERS, {"users": {"email": ANN}}, {"obj.users": "Array value expected"}),
        (
            USERS,
            {"users": [{"email": ANN}], "createNewFields": 1},
            {"obj.createNewFields": "Boolean value expected"},
        ),
        (USERS, {"users": [{"email": ANN}, ANN]}, {"obj.users[1]": "Object value expected"}),
        (
            USERS,
            {"users": [{"email": ANN}, {"email": BOB, "preferUserId": "x"}]},
            {"obj.users[1].preferUserId": "Boolean value expected"},
        ),
        (
            USERS,
            {"users": [{"userId": 7}, {"email": BOB}, {"email": CY, "dataFields": []}]},
            {
                "obj.users[0].userId": "String value expected",
                "obj.users[2].dataFields": "Object value expected",
            },
        ),
        (EVENTS, {"users": []}, {"obj.events": "Required value is missing"}),
        (EVENTS, {"events": "x"}, {"obj.events": "Array value expected"}),
        (
            EVENTS,
            {"events": [{"email": ANN, "eventName": "e"}, {"email": ANN, "eventName": "e", "createdAt": "now"}]},
            {"obj.events[1].createdAt": "Number value expected"},
        ),
        (EVENTS, {"events": [{"email": ANN}]}, {"obj.events[0].eventName": "Required value is missing"}),
        (
            EVENTS,
            {"events": [{"email": ANN, "eventName": "e", "createNewFields": 0}]},
            {"obj.events[0].createNewFields": "Boolean value expected"},
        ),
    ],
)
def test_one_wrong_json_type_refuses_the_whole_request_and_is_named_by_index(
    api: Any, sandbox: Any, path: str, body: object, problems: dict[str, str]
) -> None:
    api.update(email=ANN)
    reply = api.send("POST", path, body)
    assert reply.status == 400
    assert reply.json == {"msg": f"[{path}] Invalid JSON body", "code": "BadJsonBody", "params": problems}
    assert len(sandbox.users()) == 1
    assert sandbox.events() == []


def test_a_users_own_create_new_fields_is_an_unknown_key(api: Any, sandbox: Any) -> None:
    assert api.bulk_update({"email": ANN, "createNewFields": "no", "dataFields": {"a": 1}}).status == 200
    assert sandbox.users()[0]["dataFields"] == {"a": 1}


def test_no_users_is_an_error_and_no_events_is_none(api: Any) -> None:
    reply = api.bulk_update()
    assert reply.outcome == (400, "InvalidEmailAddressError")
    assert reply.json["msg"] == "Emails invalid: "
    answer = api.track_bulk().json
    assert (answer["successCount"], answer["failCount"]) == (0, 0)


@pytest.mark.parametrize(("items", "status"), [(3, 400), (2, 200)])
def test_the_number_of_items_can_be_limited(api: Any, sandbox: Any, items: int, status: int) -> None:
    sandbox.settings(max_bulk_items=2)
    users = [{"email": f"user{number}@acme.com"} for number in range(items)]
    reply = api.bulk_update(*users)
    events = api.track_bulk(*({**user, "eventName": "e"} for user in users))
    assert (reply.status, events.status) == (status, status)
    if status == 400:
        assert (reply.json["code"], events.json["code"]) == ("BatchTooLarge", "BatchTooLarge")
        assert sandbox.users() == []


def test_any_number_of_items_is_taken_by_default_as_long_as_the_body_is_small_enough(api: Any, sandbox: Any) -> None:
    users = [{"email": f"user{number}@acme.com"} for number in range(3000)]
    assert api.bulk_update(*users).json["successCount"] == 3000
    sandbox.settings(max_body_bytes=10_000)
    assert api.bulk_update(*users).status == 413
    assert api.track_bulk(*users).status == 413


def test_four_megabytes_are_taken_and_one_byte_more_is_not(api: Any, sandbox: Any) -> None:
    row = b'{"users": [{"email": "ann@acme.com", "dataFields": {"t": "%b"}}]}'
    most = 4_000_000 - len(row) + 2
    assert api.send("POST", USERS, row % (b"x" * (most + 1))).status == 413
    assert sandbox.users() == []
    assert api.send("POST", USERS, row % (b"x" * most)).status == 200


def planted(api: Any) -> None:
    """Two users, their events, and the types of some fields."""
    api.update(email=ANN, userId="u1", dataFields={"seats": 1, "plan": "pro"})
    api.update(email=BOB, userId="u2")
    api.track(email=ANN, eventName="e", id="1", dataFields={"n": 1})
    api.track(email=ANN, eventName="e", id="2", dataFields={"n": 2})


@pytest.mark.parametrize(
    ("settings", "body", "code"),
    [
        (
            {},
            [
                {"email": CY, "dataFields": {"fresh": 1}},
                {"email": ANN, "dataFields": {"plan": None, "other": "x", "email": "new@acme.com", "signupDate": 1}},
                {"userId": "u2", "dataFields": {"userId": "u9"}},
                {"email": "dee@acme.com", "dataFields": {"seats": "three"}},
            ],
            "RequestFieldsTypesMismatched",
        ),
        (
            {},
            [{"email": CY, "dataFields": {"fresh": 1}}, {"email": BOB, "dataFields": {"fresh": "x"}}],
            "RequestFieldsTypesMismatched",
        ),
        (
            {"user_fields_limit": 3},
            [{"email": CY, "dataFields": {"a": 1}}, {"email": BOB, "dataFields": {"b": 1}}],
            "UniqueFieldsLimitExceeded",
        ),
    ],
)
def test_a_wrong_field_of_one_user_refuses_the_whole_request_and_leaves_nothing_behind(
    api: Any, sandbox: Any, settings: dict[str, Any], body: list[dict[str, Any]], code: str
) -> None:
    planted(api)
    sandbox.settings(**settings)
    before = state_of(sandbox)
    assert api.bulk_update(*body).outcome == (400, code)
    assert state_of(sandbox) == before
    assert api.get("/api/users/byUserId/u9").status == 400


def test_a_placeholder_is_given_back_by_a_refused_request(api: Any, sandbox: Any) -> None:
    sandbox.settings(project_type="email")
    api.update(email=ANN, dataFields={"seats": 1})
    person = {"userId": "u1", "preferUserId": True}
    assert api.bulk_update(person, {"email": ANN, "dataFields": {"seats": "x"}}).status == 400
    assert api.bulk_update(person).json["successCount"] == 1
    assert [user["email"] for user in sandbox.users()] == [ANN, "sandbox+1@placeholder.email"]


def test_a_wrong_field_of_one_event_refuses_the_whole_request_and_leaves_nothing_behind(api: Any, sandbox: Any) -> None:
    planted(api)
    before = state_of(sandbox)
    reply = api.track_bulk(
        {"email": ANN, "eventName": "e", "id": "3"},
        {"email": BOB, "eventName": "f", "id": "1", "dataFields": {"n": "x", "createdAt": 1}},
        {"email": ANN, "eventName": "g", "id": "1"},
        {"email": ANN, "eventName": "e", "dataFields": {"n": "x"}},
    )
    assert reply.outcome == (400, "RequestFieldsTypesMismatched")
    assert set(reply.json["params"]["validationErrors"]) == {"n"}
    assert state_of(sandbox) == before
    newest = api.get(f"/api/events/{ANN}").json["events"]
    assert sorted(event["id"] for event in newest) == ["1", "2"]
    assert api.track_bulk({"email": BOB, "eventName": "f", "dataFields": {"n": 1}}).json["successCount"] == 1


def test_after_a_refused_request_the_rest_of_it_works(api: Any, sandbox: Any) -> None:
    planted(api)
    good, bad = {"email": CY, "dataFields": {"fresh": 1}}, {"email": ANN, "dataFields": {"seats": "x"}}
    assert api.bulk_update(good, bad).status == 400
    assert api.bulk_update(good).json["createdFields"] == ["fresh"]
    assert len(sandbox.users()) == 3


@pytest.mark.parametrize(("conflict", "status", "users"), [("row", 200, 3), ("request", 409, 2)])
def test_an_identity_conflict_can_refuse_the_whole_request(
    api: Any, sandbox: Any, conflict: str, status: int, users: int
) -> None:
    planted(api)
    sandbox.settings(bulk_conflict=conflict)
    reply = api.bulk_update({"email": CY}, {"email": ANN, "userId": "u2"})
    assert reply.status == status
    assert len(sandbox.users()) == users
    if status == 409:
        assert reply.json["code"] == "ExternalKeyConflict"


FAILED = {
    f"{reason}{kind}": []
    for reason in ("invalid", "invalidData", "notFound", "forgotten", "conflict")
    for kind in ("Emails", "UserIds")
}
EVENTS_FAILED = {name: [] for name in FAILED if not name.startswith(("invalidData", "conflict"))}


@pytest.mark.parametrize(
    ("lists", "users", "events"),
    [
        (
            "all",
            {
                "successCount": 1,
                "failCount": 1,
                "createdFields": ["a"],
                "filteredOutFields": [],
                "invalidEmails": ["nobody"],
                "invalidUserIds": [],
                "noOpEmails": [],
                "noOpUserIds": [],
                "failedUpdates": {**FAILED, "invalidEmails": ["nobody"]},
            },
            {
                "successCount": 1,
                "failCount": 2,
                "createdFields": ["b"],
                "filteredOutFields": [],
                "disallowedEventNames": ["noise"],
                "invalidEmails": ["nobody"],
                "invalidUserIds": [],
                "failedUpdates": {**EVENTS_FAILED, "invalidEmails": ["nobody"]},
            },
        ),
        (
            "sparse",
            {
                "successCount": 1,
                "failCount": 1,
                "createdFields": ["a"],
                "invalidEmails": ["nobody"],
                "failedUpdates": {"invalidEmails": ["nobody"]},
            },
            {
                "successCount": 1,
                "failCount": 2,
                "createdFields": ["b"],
                "disallowedEventNames": ["noise"],
                "invalidEmails": ["nobody"],
                "failedUpdates": {"invalidEmails": ["nobody"]},
            },
        ),
        (
            "old",
            {"successCount": 1, "failCount": 1, "invalidEmails": ["nobody"]},
            {
                "successCount": 1,
                "failCount": 2,
                "disallowedEventNames": ["noise"],
                "invalidEmails": ["nobody"],
                "invalidUserIds": [],
            },
        ),
    ],
)
def test_answers_have_all_lists_or_those_with_entries_or_those_of_old_times(
    api: Any, sandbox: Any, lists: str, users: dict[str, Any], events: dict[str, Any]
) -> None:
    sandbox.settings(bulk_lists=lists, disallowed_event_names=["noise"])
    assert api.bulk_update({"email": ANN, "dataFields": {"a": 1}}, {"email": "Nobody"}).json == users
    reply = api.track_bulk(
        {"email": ANN, "eventName": "e", "dataFields": {"b": 1}},
        {"email": "Nobody", "eventName": "e"},
        {"email": ANN, "eventName": "noise"},
    )
    assert reply.json == events


def test_a_sparse_answer_without_entries_has_counts_only(api: Any, sandbox: Any) -> None:
    sandbox.settings(bulk_lists="sparse")
    assert api.bulk_update({"email": ANN}).json == {"successCount": 1, "failCount": 0}
    assert api.track_bulk({"email": ANN, "eventName": "e"}).json == {"successCount": 1, "failCount": 0}


def test_counts_only_keeps_no_bodies_of_bulk_rows_either(api: Any, sandbox: Any) -> None:
    sandbox.settings(store="counts")
    api.bulk_update({"email": ANN, "dataFields": {"a": 1}})
    api.track_bulk({"email": ANN, "eventName": "e", "dataFields": {"a": 1}})
    assert sandbox.users()[0]["dataFields"] == {}
    assert "dataFields" not in sandbox.events()[0]
    assert api.bulk_update({"email": BOB, "dataFields": {"a": "x"}}).status == 400
