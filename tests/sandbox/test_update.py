"""users/update: bodies, identifiers, project types, and what becomes of the profile."""

from __future__ import annotations

from typing import Any

import pytest

UPDATE = "/api/users/update"
EMAIL = "ann@acme.com"


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (b"{broken", {"obj": "Valid JSON expected"}),
        (b"", {"obj": "Valid JSON expected"}),
        (b'{"email": "ann@acme.com", "dataFields": {"x": NaN}}', {"obj": "Valid JSON expected"}),
        (b"[]", {"obj": "Object value expected"}),
        (b"null", {"obj": "Object value expected"}),
        ({"userId": 7}, {"obj.userId": "String value expected"}),
        ({"email": True}, {"obj.email": "String value expected"}),
        ({"email": EMAIL, "dataFields": []}, {"obj.dataFields": "Object value expected"}),
        ({"email": EMAIL, "preferUserId": 1}, {"obj.preferUserId": "Boolean value expected"}),
        (
            {"email": EMAIL, "mergeNestedObjects": "true", "createNewFields": "no"},
            {
                "obj.mergeNestedObjects": "Boolean value expected",
                "obj.createNewFields": "Boolean value expected",
            },
        ),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused_with_the_paths_named(
    api: Any, sandbox: Any, body: object, problems: dict[str, str]
) -> None:
    reply = api.send("POST", UPDATE, body)
    assert reply.status == 400
    assert reply.json == {"msg": f"[{UPDATE}] Invalid JSON body", "code": "BadJsonBody", "params": problems}
    assert sandbox.users() == []


@pytest.mark.parametrize("body", [{}, {"email": None, "userId": None}, {"dataFields": {"a": 1}}])
def test_no_identifier_is_bad_params(api: Any, body: dict[str, Any]) -> None:
    reply = api.update(**body)
    assert reply.outcome == (400, "BadParams")
    assert reply.json["msg"].startswith("Either email or userId must be set")


@pytest.mark.parametrize(
    "email",
    [
        "",
        "None",
        "ann",
        "@acme.com",
        "ann@",
        "ann@acme",
        "ann@localhost",
        "ann@@acme.com",
        "a nn@acme.com",
        " ann@acme.com",
        "ann,bob@acme.com",
        ".ann@acme.com",
        "ann@-acme.com",
        "ann@acme..com",
        "ann@acme.com.",
        "ann@acme.c",
        "ann@acme.test",
        "ann@acme.invalid",
        "ann@1.2.3.4",
        f"{'a' * 65}@acme.com",
        "ann@" + "\u00fc" * 70 + ".com",
    ],
)
def test_a_malformed_email_is_refused(api: Any, sandbox: Any, email: str) -> None:
    reply = api.update(email=email)
    assert reply.outcome == (400, "InvalidEmailAddressError")
    assert reply.json["msg"] == f"Invalid email: {email}"
    assert sandbox.users() == []


@pytest.mark.parametrize(
    "email",
    ["ann+tag@acme.com", "o'neil@acme.co.uk", "a_b-c.d@sub.acme-corp.museum", "ann@bücher.de", "ann@xn--bcher-kva.de"],
)
def test_a_wellformed_email_is_taken(api: Any, email: str) -> None:
    assert api.update(email=email).status == 200


def test_emails_are_stored_in_lower_case_as_one_user(api: Any, sandbox: Any) -> None:
    api.update(email="Ann@Acme.com", dataFields={"a": 1})
    api.update(email="ANN@ACME.COM", dataFields={"b": 2})
    assert sandbox.users() == [{"email": EMAIL, "userId": None, "dataFields": {"a": 1, "b": 2}}]


def test_emails_with_spaces_around_and_special_domains_can_be_allowed(api: Any, sandbox: Any) -> None:
    sandbox.settings(trim_emails=True, check_top_level_domain=False)
    assert api.update(email=" ann@acme.test ").status == 200
    assert sandbox.users()[0]["email"] == "ann@acme.test"


@pytest.mark.parametrize("user_id", ["", " ", "u ", "u" * 53, "ü", "a\tb", "a\n", "\x7f"])
def test_a_malformed_user_id_is_refused(api: Any, user_id: str) -> None:
    assert api.update(userId=user_id).outcome == (400, "InvalidUserIdError")


@pytest.mark.parametrize("user_id", ["u", "u" * 52, " u", "a b/c%d", "~!@#"])
def test_a_wellformed_user_id_is_taken(api: Any, user_id: str) -> None:
    assert api.update(userId=user_id).status == 200


def test_user_ids_are_case_sensitive(api: Any, sandbox: Any) -> None:
    api.update(userId="U1")
    api.update(userId="u1")
    assert [user["userId"] for user in sandbox.users()] == ["U1", "u1"]


def test_unknown_keys_of_the_body_are_ignored(api: Any) -> None:
    assert api.update(email=EMAIL, updateOnly=7).outcome == (200, "Success")


@pytest.mark.parametrize(
    ("body", "identifiers"),
    [
        ({"email": EMAIL, "userId": "u2"}, None),
        ({"email": EMAIL, "userId": "u3"}, None),
        ({"email": "new@acme.com", "userId": "u1"}, None),
        ({"email": EMAIL, "dataFields": {"email": "bob@acme.com"}}, None),
        ({"email": EMAIL, "dataFields": {"userId": "u2"}}, None),
        ({"email": EMAIL, "userId": "u1"}, (EMAIL, "u1")),
        ({"email": EMAIL, "dataFields": {"email": "New@acme.com"}}, ("new@acme.com", "u1")),
        ({"userId": "u1", "dataFields": {"userId": "u9"}}, (EMAIL, "u9")),
    ],
)
def test_hybrid_identities_are_unique_and_change_only_by_data_fields(
    api: Any, sandbox: Any, body: dict[str, Any], identifiers: tuple[str, str] | None
) -> None:
    api.update(email=EMAIL, userId="u1")
    api.update(email="bob@acme.com", userId="u2")
    reply = api.update(**body)
    users = {(user["email"], user["userId"]) for user in sandbox.users()}
    if identifiers is None:
        assert reply.outcome == (409, "ExternalKeyConflict")
        assert users == {(EMAIL, "u1"), ("bob@acme.com", "u2")}
    else:
        assert reply.status == 200
        assert users == {identifiers, ("bob@acme.com", "u2")}


def test_a_hybrid_user_gains_the_identifier_it_lacked(api: Any, sandbox: Any) -> None:
    api.update(userId="u1", dataFields={"a": 1})
    api.update(email=EMAIL, userId="u1")
    assert sandbox.users() == [{"email": EMAIL, "userId": "u1", "dataFields": {"a": 1}}]


@pytest.mark.parametrize("fields", [{"email": 7}, {"userId": 7}])
def test_identifiers_in_data_fields_must_be_strings(api: Any, fields: dict[str, Any]) -> None:
    assert api.update(email=EMAIL, dataFields=fields).outcome == (400, "BadParams")


def test_email_based_project_needs_prefer_user_id_to_create_by_user_id(api: Any, sandbox: Any) -> None:
    sandbox.settings(project_type="email")
    assert api.update(userId="u1").outcome == (400, "UnknownUserIdError")
    assert sandbox.users() == []
    assert api.update(userId="u1", preferUserId=True).status == 200
    assert api.update(userId="u1", dataFields={"a": 1}).status == 200
    assert sandbox.users() == [{"email": "sandbox+1@placeholder.email", "userId": "u1", "dataFields": {"a": 1}}]


def test_email_based_project_overwrites_user_ids_and_shares_them(api: Any, sandbox: Any) -> None:
    sandbox.settings(project_type="email")
    api.update(email=EMAIL, userId="u1")
    api.update(email=EMAIL, userId="u2")
    api.update(email="bob@acme.com", dataFields={"userId": "u2"})
    assert [(user["email"], user["userId"]) for user in sandbox.users()] == [
        (EMAIL, "u2"),
        ("bob@acme.com", "u2"),
    ]


def test_user_id_based_project_needs_the_user_id_and_shares_emails(api: Any, sandbox: Any) -> None:
    sandbox.settings(project_type="userid")
    assert api.update(email=EMAIL).outcome == (400, "BadParams")
    api.update(userId="u1", email=EMAIL)
    api.update(userId="u2", email=EMAIL)
    assert api.update(userId="u2", dataFields={"userId": "u1"}).outcome == (409, "ExternalKeyConflict")
    assert [(user["email"], user["userId"]) for user in sandbox.users()] == [(EMAIL, "u1"), (EMAIL, "u2")]


@pytest.mark.parametrize(
    ("before", "update", "merge", "after"),
    [
        ({"a": 1, "b": 2}, {"b": 3}, False, {"a": 1, "b": 3}),
        ({"a": 1, "b": 2}, {"a": None, "nowhere": None}, False, {"b": 2}),
        ({"a": "x"}, {"a": ""}, False, {"a": ""}),
        ({"a": [1, 2]}, {"a": [3]}, True, {"a": [3]}),
        ({"o": {"x": 1, "y": 2}}, {"o": {"x": 3}}, False, {"o": {"x": 3}}),
        ({"o": {"x": 1, "y": 2}}, {"o": {"x": 3}}, True, {"o": {"x": 3, "y": 2}}),
        ({"o": {"x": 1, "y": 2}}, {"o": {"x": None}}, True, {"o": {"y": 2}}),
        ({"o": {"x": 1}}, {"o": {"y": None}}, False, {"o": {}}),
        ({"o": {"p": {"x": 1}, "q": 1}}, {"o": {"p": {"y": 2}}}, True, {"o": {"p": {"y": 2}, "q": 1}}),
        ({"Foo": 1}, {"foo": "text"}, False, {"Foo": 1, "foo": "text"}),
        ({}, {"text": "naïve 😀 \u2028"}, False, {"text": "naïve 😀 \u2028"}),
    ],
)
def test_fields_are_kept_replaced_merged_or_deleted(
    api: Any, before: dict[str, Any], update: dict[str, Any], merge: bool, after: dict[str, Any]
) -> None:
    api.update(email=EMAIL, dataFields=before)
    assert api.update(email=EMAIL, dataFields=update, mergeNestedObjects=merge).status == 200
    assert api.fields_of(EMAIL) == after


def test_reserved_fields_are_ignored_and_counted_or_refused(api: Any, sandbox: Any) -> None:
    fields = {"signupSource": "me", "itblInternal": {"x": 1}, "plan": "pro"}
    assert api.update(email=EMAIL, dataFields=fields).status == 200
    assert api.fields_of(EMAIL) == {"plan": "pro"}
    assert sandbox.stats()["reserved_fields_ignored"] == 2
    sandbox.settings(reserved_fields="reject")
    reply = api.update(email=EMAIL, dataFields=fields)
    assert reply.outcome == (400, "BadParams")
    assert "itblInternal, signupSource" in reply.json["msg"]


def test_a_body_above_the_limit_is_413(api: Any, sandbox: Any) -> None:
    sandbox.settings(max_body_bytes=100_000)
    assert api.update(email=EMAIL, dataFields={"text": "x" * 64_000}).status == 200
    assert api.update(email=EMAIL, dataFields={"text": "x" * 200_000}).status == 413


def test_a_new_user_becomes_visible_after_the_delay(api: Any, sandbox: Any) -> None:
    sandbox.settings(visibility_delay_seconds=3600)
    api.update(email=EMAIL, userId="u1")
    assert api.get(f"/api/users/{EMAIL}").json == {}
    assert api.get("/api/users/byUserId/u1").status == 400
    assert api.track(email=EMAIL, eventName="e").outcome == (400, "UnknownEmailError")
    assert api.update(email=EMAIL, dataFields={"a": 1}).status == 200
    assert len(sandbox.users()) == 1


def test_counts_only_keeps_no_bodies_but_still_checks_types(api: Any, sandbox: Any) -> None:
    sandbox.settings(store="counts")
    api.update(email=EMAIL, dataFields={"a": 1})
    api.track(email=EMAIL, eventName="e", id="1", dataFields={"a": 1})
    assert api.update(email=EMAIL, dataFields={"a": "x"}).outcome == (400, "RequestFieldsTypesMismatched")
    assert sandbox.users()[0]["dataFields"] == {}
    assert (sandbox.stats()["users"], sandbox.stats()["events"]) == (1, 1)


def test_every_answer_has_its_own_request_id(api: Any) -> None:
    ids = {api.update(email=EMAIL).headers["iterable-request-id"] for _ in range(3)}
    assert len(ids) == 3
