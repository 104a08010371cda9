"""Field types: fixed by the first value, project-wide; dates and how they come back."""

from __future__ import annotations

from typing import Any

import pytest

EMAIL = "ann@acme.com"
PLACE = {"lat": 52.5, "lon": 13}


@pytest.mark.parametrize(
    ("first", "second", "expected", "incoming"),
    [
        (1, 1.5, "long", ["double"]),
        (1, "1", "long", ["string", "keyword"]),
        (1, "2026-01-13", "long", ["date", "string", "keyword"]),
        (1, True, "long", ["boolean"]),
        (True, 1, "boolean", ["long"]),
        (1.5, "1.5", "double", ["string", "keyword"]),
        ("x", 1, "string", ["long"]),
        ("x", {"a": 1}, "string", ["object"]),
        ("2026-01-13", "soon", "date", ["string", "keyword"]),
        ("2026-01-13", "2026-01-13 10:00:00.123", "date", ["string", "keyword"]),
        ({"a": 1}, 5, "object", ["long"]),
        ([1, 2], "x", "long", ["string", "keyword"]),
        (["x"], [1], "string", ["long"]),
    ],
)
def test_a_value_of_another_type_is_refused_for_any_user(
    api: Any, sandbox: Any, first: object, second: object, expected: str, incoming: list[str]
) -> None:
    assert api.update(email=EMAIL, dataFields={"f": first}).status == 200
    reply = api.update(email="bob@acme.com", dataFields={"f": second})
    assert reply.outcome == (400, "RequestFieldsTypesMismatched")
    error = reply.json["params"]["validationErrors"]["f"]
    offending = second[0] if isinstance(second, list) else second
    assert error == {
        "incomingTypes": incoming,
        "expectedType": expected,
        "category": "user",
        "offendingValue": offending,
        "_type": "UnexpectedType",
    }
    assert f"'f' already exists for type 'user' and has a data type of '{expected}'" in reply.json["msg"]
    assert len(sandbox.users()) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1.5, 2),
        ("x", "2026-01-13"),
        ("x", ["y", "z"]),
        (1, None),
        (1, []),
        ("2026-01-13", "2026-01-14 10:00:00"),
        ({"a": 1}, [{"a": 2}]),
    ],
)
def test_a_value_that_fits_the_type_is_taken(api: Any, first: object, second: object) -> None:
    api.update(email=EMAIL, dataFields={"f": first})
    assert api.update(email=EMAIL, dataFields={"f": second}).status == 200


def test_a_mismatch_changes_nothing_at_all(api: Any, sandbox: Any) -> None:
    api.update(email=EMAIL, dataFields={"a": 1})
    api.update(email=EMAIL, userId="u1", dataFields={"new": "x", "a": "text", "b": 2})
    assert sandbox.users() == [{"email": EMAIL, "userId": None, "dataFields": {"a": 1}}]
    assert "new" not in api.get("/api/users/getFields").json["fields"]


def test_every_mismatch_is_listed_also_nested_ones(api: Any) -> None:
    api.update(email=EMAIL, dataFields={"a": 1, "o": {"x": 1, "p": {"y": True}}})
    reply = api.update(email=EMAIL, dataFields={"a": "x", "o": {"x": "y", "p": {"y": 1}}})
    assert set(reply.json["params"]["validationErrors"]) == {"a", "o.x", "o.p.y"}


def test_a_double_can_be_accepted_where_the_first_value_was_a_long(api: Any, sandbox: Any) -> None:
    sandbox.settings(double_in_long_field="accept")
    api.update(email=EMAIL, dataFields={"f": 1})
    assert api.update(email=EMAIL, dataFields={"f": 1.5}).status == 200
    assert api.fields_of(EMAIL) == {"f": 1.5}


def test_get_fields_lists_the_types(api: Any) -> None:
    fields = {"s": "x", "l": 1, "d": 1.5, "b": True, "t": "2026-01-13", "n": None, "e": [], "a": ["x"]}
    api.update(email=EMAIL, dataFields={**fields, "home_geo_location": PLACE, "place": PLACE})
    assert api.get("/api/users/getFields").json == {
        "fields": {
            "email": "string",
            "userId": "string",
            "s": "string",
            "l": "long",
            "d": "double",
            "b": "boolean",
            "t": "date",
            "a": "string",
            "home_geo_location": "geo_location",
            "place": "object",
            "place.lat": "double",
            "place.lon": "long",
        }
    }


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("2026-01-13", "2026-01-13 00:00:00 +00:00"),
        ("2026-01-13 10:20:30", "2026-01-13 10:20:30 +00:00"),
        ("2026-01-13 10:20:30 +00:00", "2026-01-13 10:20:30 +00:00"),
        ("2026-01-13 10:20:30 +02:00", "2026-01-13 08:20:30 +00:00"),
        ("2026-01-13T10:20:30.456Z", "2026-01-13 10:20:30 +00:00"),
        ("2026-01-13T23:20:30.000-05:00", "2026-01-14 04:20:30 +00:00"),
        ("0001-01-01", "0001-01-01 00:00:00 +00:00"),
    ],
)
def test_a_date_is_recognised_and_comes_back_normalised(api: Any, text: str, back: str) -> None:
    api.update(email=EMAIL, dataFields={"f": text, "all": [text], "o": {"f": text}})
    assert api.fields_of(EMAIL) == {"f": back, "all": [back], "o": {"f": back}}
    assert api.get("/api/users/getFields").json["fields"]["f"] == "date"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-13 10:20:30.456",
        "2026-01-13T10:20:30Z",
        "2026-01-13T10:20:30+00:00",
        "2026-01-13 10:20:30+00:00",
        "2026-01-13 10:20:30 UTC",
        "2026-01-13T10:20:30.456789+00:00",
        "2026-01-13T10:20:30.456+0000",
        "2026-01-13 24:00:00",
        "2026-02-30",
        "2026-13-01",
        "20260113",
        "0000-01-01",
        "9999-12-31 23:59:59 -01:00",
        "1768300000",
        "\u0662\u0660\u0662\u0666-01-13",
    ],
)
def test_anything_else_is_a_string(api: Any, text: str) -> None:
    api.update(email=EMAIL, dataFields={"f": text})
    assert api.fields_of(EMAIL) == {"f": text}
    assert api.get("/api/users/getFields").json["fields"]["f"] == "string"


def test_a_date_in_a_string_field_comes_back_as_it_was(api: Any) -> None:
    api.update(email=EMAIL, dataFields={"f": "x"})
    api.update(email=EMAIL, dataFields={"f": "2026-01-13"})
    assert api.fields_of(EMAIL) == {"f": "2026-01-13"}


@pytest.mark.parametrize(
    ("setting", "request_says", "kept"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
def test_new_fields_are_dropped_silently_when_not_wanted(
    api: Any, sandbox: Any, setting: bool, request_says: bool | None, kept: bool
) -> None:
    api.update(email=EMAIL, dataFields={"known": {"a": 1}})
    sandbox.settings(create_new_fields=setting)
    fields = {"known": {"a": 2, "b": 3}, "new": 1, "news": ["x"]}
    assert api.update(email=EMAIL, dataFields=fields, createNewFields=request_says).status == 200
    assert api.fields_of(EMAIL) == (fields if kept else {"known": {"a": 2}})


def test_too_many_unique_fields_are_refused_nested_ones_count(api: Any, sandbox: Any) -> None:
    sandbox.settings(user_fields_limit=3, event_fields_limit=1)
    assert api.update(email=EMAIL, dataFields={"a": 1, "o": {"x": 1}}).status == 200
    reply = api.update(email=EMAIL, dataFields={"b": 1, "c": None})
    assert reply.outcome == (400, "UniqueFieldsLimitExceeded")
    assert reply.json["params"] == {"limit": 3, "requestedTotal": 4, "newFields": ["b"]}
    assert api.track(email=EMAIL, eventName="e", dataFields={"a": 1, "b": 1}).outcome[0] == 400
    assert api.track(email=EMAIL, eventName="e", dataFields={"a": 1}).status == 200


def test_event_fields_have_types_per_event_name(api: Any) -> None:
    api.update(email=EMAIL, dataFields={"f": "x"})
    assert api.track(email=EMAIL, eventName="one", dataFields={"f": 1}).status == 200
    assert api.track(email=EMAIL, eventName="two", dataFields={"f": True}).status == 200
    reply = api.track(email=EMAIL, eventName="one", dataFields={"f": True})
    assert reply.outcome == (400, "RequestFieldsTypesMismatched")
    assert reply.json["params"]["validationErrors"]["f"]["category"] == "one"
