"""The list endpoints of the sandbox: who is on a list, and who was taken off it or off its channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reverse_etl.sandbox.testing import READONLY_KEY, SandboxServer


@pytest.fixture
def customers(api: Any) -> int:
    """A list with Ann and Bob."""
    number: int = api.send("POST", "/api/lists", {"name": "customers"}).json["listId"]
    members = [{"email": "ann@acme.com", "dataFields": {"plan": "pro"}}, {"email": "Bob@acme.com", "userId": "b"}]
    answer = api.send("POST", "/api/lists/subscribe", {"listId": number, "subscribers": members})
    assert (answer.status, answer.json["successCount"]) == (200, 2)
    return number


def take_off(api: Any, number: int, *subscribers: dict[str, str], **more: object) -> Any:
    return api.send("POST", "/api/lists/unsubscribe", {"listId": number, "subscribers": subscribers, **more})


def test_subscribing_creates_users_and_sets_their_fields(api: Any, customers: int) -> None:
    assert api.fields_of("ann@acme.com") == {"plan": "pro", "emailListIds": [customers]}
    assert api.get("/api/lists").json["lists"] == [{"id": customers, "name": "customers", "listType": "Standard"}]


@pytest.mark.parametrize("one", [{"email": "BOB@acme.com"}, {"userId": "b"}])
def test_a_user_taken_off_a_list_stays_on_others_and_in_the_channel(
    api: Any, customers: int, one: dict[str, str]
) -> None:
    other = api.send("POST", "/api/lists", {"name": "other"}).json["listId"]
    api.send("POST", "/api/lists/subscribe", {"listId": other, "subscribers": [{"email": "bob@acme.com"}]})
    for _ in range(2):
        answer = take_off(api, customers, one)
        assert (answer.status, answer.json["successCount"], answer.json["failCount"]) == (200, 1, 0)
    assert api.fields_of("bob@acme.com") == {"emailListIds": [other]}
    assert api.fields_of("ann@acme.com")["emailListIds"] == [customers]


def test_the_channel_is_left_when_that_is_asked_for(api: Any, customers: int) -> None:
    take_off(api, customers, {"email": "ann@acme.com"}, channelUnsubscribe=True)
    assert api.fields_of("ann@acme.com") == {"plan": "pro", "unsubscribedChannelIds": [1]}


def test_users_who_are_not_there_are_named(api: Any, customers: int) -> None:
    answer = take_off(api, customers, {"email": "no@acme.com"}, {"userId": "no"}, {"email": "x"}, {"userId": "b"})
    assert (answer.json["successCount"], answer.json["failCount"]) == (1, 3)
    failed = {name: found for name, found in answer.json["failedUpdates"].items() if found}
    assert failed == {"notFoundEmails": ["no@acme.com"], "notFoundUserIds": ["no"], "invalidEmails": ["x"]}


def test_an_unknown_list_is_refused_as_the_live_api_does(api: Any) -> None:
    answer = take_off(api, 7, {"email": "ann@acme.com"})
    assert answer.outcome == (400, "Success")
    assert "error.lists.invalidListId(7)" in answer.json["msg"]


def test_a_readonly_key_may_not_write_lists(api: Any) -> None:
    assert api.send("POST", "/api/lists", {"name": "x"}, key=READONLY_KEY).status == 401
    assert api.send("POST", "/api/lists", {}).outcome == (400, "BadJsonBody")


def test_lists_are_kept_in_the_state_file(tmp_path: Path, api_of: Any) -> None:
    for _ in range(2):
        with SandboxServer(state_file=tmp_path / "state", limits="off") as sandbox:
            api = api_of(sandbox)
            if not api.get("/api/lists").json["lists"]:
                number = api.send("POST", "/api/lists", {"name": "customers"}).json["listId"]
                members = [{"email": "ann@acme.com"}, {"email": "bob@acme.com"}]
                api.send("POST", "/api/lists/subscribe", {"listId": number, "subscribers": members})
                take_off(api, number, {"email": "bob@acme.com"}, channelUnsubscribe=True)
                sandbox.post("/sandbox/save")
            assert api.fields_of("ann@acme.com") == {"emailListIds": [1]}
            assert api.fields_of("bob@acme.com") == {"unsubscribedChannelIds": [1]}
