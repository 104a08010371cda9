"""Reading, deleting and forgetting users."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

EMAIL = "ann+x/y%z@acme.com"
EMAIL_IN_PATH = "ann+x%2Fy%25z%40acme.com"


@pytest.mark.parametrize("path", ["/api/users/ann", "/api/users/getByEmail?email=ann", "/api/users/getByEmail?email="])
def test_a_malformed_email_is_an_error(api: Any, path: str) -> None:
    assert api.get(path).outcome == (400, "InvalidEmailAddressError")


@pytest.mark.parametrize("path", ["/api/users/getByEmail", "/api/users/byUserId", "/api/users/getByEmail?mail=a@b.co"])
def test_a_missing_query_parameter_is_an_error(api: Any, path: str) -> None:
    assert api.get(path).outcome == (400, "BadParams")


@pytest.mark.parametrize("path", ["/api/users/bob@acme.com", "/api/users/getByEmail?email=bob@acme.com"])
def test_an_unknown_email_is_200_with_an_empty_object(api: Any, path: str) -> None:
    reply = api.get(path)
    assert (reply.status, reply.json) == (200, {})


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("path", ["/api/users/byUserId/u2", "/api/users/byUserId?userId=u2"])
def test_an_unknown_user_id_is_an_error(api: Any, sandbox: Any, path: str, status: int) -> None:
    sandbox.settings(unknown_user_id_status=status)
    assert api.get(path).outcome == (status, "error.users.noUserWithIdExists")


@pytest.mark.parametrize("path", ["/api/users/byUserId/" + "u" * 53, "/api/users/byUserId?userId=%C3%BC"])
def test_a_malformed_user_id_is_an_error(api: Any, path: str) -> None:
    assert api.get(path).outcome == (400, "InvalidUserIdError")


@pytest.mark.parametrize(
    "path",
    [
        f"/api/users/{EMAIL_IN_PATH}",
        f"/api/users/{EMAIL_IN_PATH.upper()}",
        f"/api/users/getByEmail?email={EMAIL_IN_PATH.replace('+', '%2B')}",
        "/api/users/byUserId/u%2F1",
        "/api/users/byUserId?userId=u/1",
    ],
)
def test_a_user_is_found_by_either_identifier_in_path_or_query(api: Any, path: str) -> None:
    api.update(email=EMAIL, userId="u/1", dataFields={"plan": "pro"})
    user = api.get(path).json["user"]
    assert (user["email"], user["userId"]) == (EMAIL, "u/1")
    fields = user["dataFields"]
    assert (fields["email"], fields["userId"], fields["plan"]) == (EMAIL, "u/1", "pro")
    assert fields["signupSource"] == "API"
    assert {"signupDate", "profileUpdatedAt"} < fields.keys()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/nothing"),
        ("GET", "/api/users/bulkUpdate/"),
        ("POST", "/api/users/bulkUpdateSubscriptions"),
        ("PUT", "/api/users/update"),
        ("GET", "/api/users/byUserId/"),
        ("GET", "/api/users/a/b"),
        ("GET", "/"),
        ("GET", "/sandbox"),
    ],
)
def test_an_unknown_path_is_an_html_404(api: Any, method: str, path: str) -> None:
    reply = api.send(method, path)
    assert reply.status == 404
    assert reply.headers["content-type"].startswith("text/html")
    assert b"<html>" in reply.body


def test_delete_by_email_takes_events_along_and_the_user_may_return(api: Any, sandbox: Any) -> None:
    api.update(email="ann@acme.com", userId="u1", dataFields={"a": 1})
    api.track(email="ann@acme.com", eventName="e", id="1")
    for _ in range(2):
        assert api.send("DELETE", "/api/users/ann@acme.com").outcome == (200, "Success")
    assert (sandbox.users(), sandbox.events(), sandbox.stats()["users"]) == ([], [], 0)
    api.update(email="ann@acme.com")
    assert sandbox.users() == [{"email": "ann@acme.com", "userId": None, "dataFields": {}}]
    assert api.track(email="ann@acme.com", eventName="e", id="1").status == 200


def test_delete_by_email_refuses_a_malformed_one_and_the_wrong_project(api: Any, sandbox: Any) -> None:
    assert api.send("DELETE", "/api/users/ann").outcome == (400, "InvalidEmailAddressError")
    sandbox.settings(project_type="userid")
    assert api.send("DELETE", "/api/users/ann@acme.com").outcome == (400, "BadParams")


def test_delete_by_user_id_takes_all_who_share_it(api: Any, sandbox: Any) -> None:
    sandbox.settings(project_type="email")
    for email in ("a@acme.com", "b@acme.com", "c@acme.com"):
        api.update(email=email, userId="u2" if email[0] == "c" else "u1")
    assert api.send("DELETE", "/api/users/byUserId/u1").outcome == (200, "Success")
    assert [user["email"] for user in sandbox.users()] == ["c@acme.com"]
    reply = api.send("DELETE", "/api/users/byUserId/u1")
    assert reply.outcome == (400, "BadParams")
    assert reply.json["msg"] == "User does not exist. Email:  UserId: u1"


def forget(api: Any, action: str = "forget", **body: str) -> Any:
    return api.send("POST", f"/api/users/{action}", body)


@pytest.mark.parametrize("action", ["forget", "unforget"])
@pytest.mark.parametrize(
    ("project_type", "body", "code"),
    [
        ("hybrid", {}, "BadParams"),
        ("hybrid", {"email": "ann"}, "InvalidEmailAddressError"),
        ("hybrid", {"email": 7}, "BadJsonBody"),
        ("hybrid", {"email": "ann@acme.com", "userId": "u1"}, "BadParams"),
        ("email", {"userId": "u1"}, "BadParams"),
        ("userid", {"email": "ann@acme.com"}, "BadParams"),
    ],
)
def test_a_wrong_identifier_is_not_forgotten(
    api: Any, sandbox: Any, action: str, project_type: str, body: dict[str, Any], code: str
) -> None:
    sandbox.settings(project_type=project_type)
    assert forget(api, action, **body).outcome == (400, code)


def test_an_unknown_user_cannot_be_forgotten(api: Any) -> None:
    reply = forget(api, email="bob@acme.com")
    assert reply.outcome == (400, "GenericError")
    assert "user does not exist" in reply.json["msg"].lower()


@pytest.mark.parametrize("status", [409, 400])
def test_a_forgotten_person_is_gone_and_refused_by_both_identifiers(api: Any, sandbox: Any, status: int) -> None:
    sandbox.settings(forgotten_status=status)
    api.update(email="ann@acme.com", userId="u1")
    api.track(userId="u1", eventName="e")
    assert forget(api, email="Ann@acme.com").outcome == (200, "Success")
    assert forget(api, email="ann@acme.com").outcome == (200, "Success")
    assert (sandbox.users(), sandbox.events()) == ([], [])
    for reply in (
        api.update(email="ANN@acme.com"),
        api.update(userId="u1"),
        api.update(email="bob@acme.com", dataFields={"email": "ann@acme.com"}),
        api.track(email="ann@acme.com", eventName="e"),
        api.track(userId="u1", eventName="e"),
    ):
        assert reply.outcome == (status, "ForgottenUserError")
    assert sandbox.users() == []


def test_forgotten_people_are_listed_by_hash_until_unforgotten(api: Any) -> None:
    api.update(email="ann@acme.com", userId="u1")
    forget(api, userId="u1")
    assert api.get("/api/users/forgotten").json == {"hashedEmails": [hashlib.sha256(b"ann@acme.com").hexdigest()]}
    assert api.get("/api/users/forgottenUserIds").json == {"hashedUserIds": [hashlib.sha256(b"u1").hexdigest()]}
    assert forget(api, "unforget", email="ann@acme.com").outcome == (200, "Success")
    assert api.get("/api/users/forgotten").json == {"hashedEmails": []}
    assert api.get("/api/users/forgottenUserIds").json == {"hashedUserIds": []}
    assert api.update(userId="u1").status == 200


@pytest.mark.parametrize(
    ("project_type", "path"), [("userid", "/api/users/forgotten"), ("email", "/api/users/forgottenUserIds")]
)
def test_a_project_lists_no_identifier_it_lacks(api: Any, sandbox: Any, project_type: str, path: str) -> None:
    sandbox.settings(project_type=project_type)
    assert api.get(path).outcome == (400, "BadParams")
