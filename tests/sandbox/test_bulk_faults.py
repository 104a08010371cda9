"""Faults, latency and counts of bulk requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http.client import RemoteDisconnected
from typing import Any

import pytest

ANN = "ann@acme.com"
BOB = "bob@acme.com"
USERS = [{"email": f"user{number}@acme.com", "userId": f"u{number}"} for number in range(100)]


def refused_rows(reply: Any) -> list[str]:
    assert reply.status == 200
    entries: list[str] = reply.json["failedUpdates"]["invalidEmails"]
    assert reply.json["failCount"] == len(entries)
    return entries


@pytest.mark.parametrize(
    ("rule", "row", "listed"),
    [
        ({"list": "unexplained"}, {"email": ANN, "userId": "u1"}, {}),
        ({"list": "invalidEmails"}, {"email": "Ann@acme.com", "userId": "u1"}, {"invalidEmails": [ANN]}),
        ({"list": "invalidUserIds"}, {"email": ANN, "userId": "u1"}, {"invalidUserIds": ["u1"]}),
        ({"list": "invalidEmails"}, {"userId": "u1"}, {"invalidUserIds": ["u1"]}),
        ({"list": "invalidUserIds"}, {"email": ANN}, {"invalidEmails": [ANN]}),
        ({"list": "invalidDataEmails"}, {"email": ANN}, {"invalidDataEmails": [ANN]}),
        ({"list": "invalidDataUserIds"}, {"userId": "u1"}, {"invalidDataUserIds": ["u1"]}),
        ({"list": "notFoundEmails"}, {"email": ANN}, {"notFoundEmails": [ANN]}),
        ({"list": "notFoundUserIds"}, {"userId": "u1"}, {"notFoundUserIds": ["u1"]}),
        ({"list": "forgottenEmails"}, {"email": ANN}, {"forgottenEmails": [ANN]}),
        ({"list": "forgottenUserIds"}, {"userId": "u1"}, {"forgottenUserIds": ["u1"]}),
        ({"list": "conflictEmails"}, {"email": ANN}, {"conflictEmails": [ANN]}),
        ({"list": "conflictUserIds"}, {"userId": "u1"}, {"conflictUserIds": ["u1"]}),
    ],
)
def test_refused_rows_are_counted_and_listed_as_the_rule_says_and_not_applied(
    sandbox: Any, api: Any, rule: dict[str, Any], row: dict[str, str], listed: dict[str, list[str]]
) -> None:
    sandbox.faults([{"kind": "refuse_rows", "match_email": [ANN], "match_user_id": "u1", **rule}])
    answer = api.bulk_update(row, {"email": BOB}).json
    assert (answer["successCount"], answer["failCount"]) == (1, 1)
    assert {name: entries for name, entries in answer["failedUpdates"].items() if entries} == listed
    assert [user["email"] for user in sandbox.users()] == [BOB]
    assert sandbox.stats()["requests"] == {"POST /api/users/bulkUpdate": {"200": 1}}


@pytest.mark.parametrize("list_name", ["conflictEmails", "invalidDataUserIds"])
def test_a_list_that_events_do_not_have_leaves_them_unlisted(sandbox: Any, api: Any, list_name: str) -> None:
    api.update(email=ANN)
    sandbox.faults([{"kind": "refuse_rows", "share": 1, "list": list_name}])
    answer = api.track_bulk({"email": ANN, "eventName": "e"}).json
    assert (answer["successCount"], answer["failCount"]) == (0, 1)
    assert not any(answer["failedUpdates"].values())
    assert sandbox.events() == []


def test_a_share_of_rows_is_the_same_for_the_same_seed_whatever_the_order(sandbox: Any, api: Any) -> None:
    def draw(seed: int, users: list[dict[str, str]]) -> set[str]:
        sandbox.faults([{"kind": "refuse_rows", "share": 0.5, "seed": seed, "list": "invalidEmails"}])
        return {*refused_rows(api.bulk_update(*users[:30])), *refused_rows(api.bulk_update(*users[30:]))}

    first = draw(1, USERS)
    assert 25 < len(first) < 75
    assert {user["email"] for user in sandbox.users()} == {user["email"] for user in USERS} - first
    assert draw(1, USERS[::-1]) == first
    assert draw(2, USERS) != first


def test_a_share_of_some_people_spares_the_others(sandbox: Any, api: Any) -> None:
    chosen = [user["email"] for user in USERS[:50]]
    sandbox.faults([{"kind": "refuse_rows", "share": 0.5, "match_email": chosen, "list": "invalidEmails"}])
    refused = refused_rows(api.bulk_update(*USERS))
    assert 0 < len(refused) < 50
    assert set(refused) < set(chosen)


def test_refusing_rows_concerns_bulk_requests_only_and_as_often_as_told(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "refuse_rows", "share": 1, "list": "unexplained", "times": 1}])
    assert api.update(email=ANN).status == 200
    assert api.send("POST", "/api/users/bulkUpdate", {"users": ANN}).status == 400
    assert [api.bulk_update({"email": BOB}).json["failCount"] for _ in range(2)] == [1, 0]
    assert sandbox.get("/sandbox/faults")[0]["fired"] == 1


def test_a_refused_row_still_needs_a_key_and_the_right_shape(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "refuse_rows", "share": 1, "list": "unexplained"}])
    body = {"users": [{"email": ANN}]}
    assert api.send("POST", "/api/users/bulkUpdate", body, key="wrong").status == 401
    assert api.bulk_update({"email": 7}).outcome == (400, "BadJsonBody")


@pytest.mark.parametrize(
    ("rule", "hit"),
    [
        ({"match_email": "Ann@acme.com"}, True),
        ({"match_user_id": ["u1", "u9"]}, True),
        ({"match_user_id": "u9"}, False),
        ({"path": "/api/users/bulk*"}, True),
        ({"path": "/api/users/update"}, False),
    ],
)
def test_other_faults_aim_at_the_person_of_any_row(sandbox: Any, api: Any, rule: dict[str, Any], hit: bool) -> None:
    sandbox.faults([{"kind": "status", "status": 503, **rule}])
    reply = api.bulk_update({"email": BOB}, "no object", {"email": "ANN@acme.com", "userId": "u1"})
    assert reply.status == (503 if hit else 400)


@pytest.mark.parametrize(("kind", "users"), [("reset", 0), ("lost_reply", 2)])
def test_a_cut_connection_loses_or_applies_all_rows(sandbox: Any, api: Any, kind: str, users: int) -> None:
    sandbox.faults([{"kind": kind}])
    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        api.bulk_update({"email": ANN}, {"email": BOB})
    assert len(sandbox.users()) == users


def test_rows_are_counted_as_they_arrive_whatever_becomes_of_them(sandbox: Any, api: Any) -> None:
    sandbox.faults([{"kind": "status", "status": 500, "times": 1}])
    for status in (500, 200):
        assert api.bulk_update({"email": ANN}, {"email": "bad"}).status == status
    api.track_bulk({"email": ANN, "eventName": "e"})
    api.track_bulk({"email": ANN})
    api.update(email=ANN)
    stats = sandbox.stats()
    assert stats["bulk_rows"] == {"POST /api/users/bulkUpdate": 4, "POST /api/events/trackBulk": 2}
    assert stats["requests"]["POST /api/users/bulkUpdate"] == {"500": 1, "200": 1}
    sandbox.reset()
    assert sandbox.stats()["bulk_rows"] == {}


def test_people_of_a_bulk_request_overlap_with_other_requests_but_not_with_themselves(sandbox: Any, api: Any) -> None:
    twice = [{"email": ANN, "userId": "u1"}, {"email": "Ann@acme.com"}]
    api.bulk_update(*twice)
    assert sandbox.stats()["person_overlaps"] == 0
    sandbox.settings(latency_ms=250)
    calls = [
        lambda: api.bulk_update({"email": "cy@acme.com"}, *twice),
        lambda: api.track_bulk({"email": "x@acme.com", "eventName": "e"}, {"userId": "u1", "eventName": "e"}),
        lambda: api.update(email="Bob@acme.com"),
        lambda: api.bulk_update({"email": "dee@acme.com"}, {"email": BOB}),
    ]
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda call: call(), calls))
    assert [reply.status for reply in replies] == [200] * 4
    stats = sandbox.stats()
    assert (stats["max_in_flight"], stats["person_overlaps"], stats["in_flight"]) == (4, 2, 0)
