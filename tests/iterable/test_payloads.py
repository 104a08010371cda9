from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from reverse_etl.emails import check_email
from reverse_etl.errors import InvalidRow
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.iterable.payloads import (
    EVENT_ID_NAMESPACE,
    EventIds,
    RowRenderer,
    iterable_datetime,
)
from reverse_etl.mapping import Constant, Field
from reverse_etl.redaction import join_key

ROW: dict[str, Any] = {
    "view_id": 41,
    "email": "Ada@Example.com",
    "user_id": 7,
    "first_name": "Ada",
    "page": "pricing",
    "seen_at": datetime(2026, 1, 13, 8, 30, 15, 999_999, tzinfo=UTC),
}
MAPPING = IterableDestination(
    email="email",
    user=UserUpdate((Field("first_name"), Constant("recent_page_view", True))),
    event=EventTrack("page_view", created_at="seen_at", fields=(Field("page"), Field("timestamp", "seen_at"))),
)
BOTH_IDS = IterableDestination(email="email", user_id="user_id", user=UserUpdate((Field("first_name"),)))


LOCAL_PARTS = [
    "a",
    "ada.lovelace",
    "A+b_c-d",
    "a..b",
    ".a",
    "a.",
    "-",
    "_",
    "a" * 64,
    "a" * 65,
    "zoë",
    '"a b"',
    "a@b",
    "",
]
DOMAINS = [
    "example.com",
    "EXAMPLE.com",
    "a-b.co",
    "-a.com",
    "a-.com",
    "a..com",
    "localhost",
    "a.test",
    "1.2.3.4",
    "com",
]
DOMAINS += [
    "münchen.de",
    "xn--mnchen-3ya.de",
    "xn--a.de",
    "a_b.com",
    "example.com.",
    "[1.2.3.4]",
    "b" * 64 + ".com",
    "",
]


@pytest.mark.parametrize("domain", DOMAINS)
def test_an_email_is_good_exactly_when_the_library_takes_it(domain: str) -> None:
    for local in LOCAL_PARTS:
        email = f"{local}@{domain}"
        try:
            validate_email(email, check_deliverability=False, strict=True)
        except EmailNotValidError:
            with pytest.raises(InvalidRow):
                check_email(email)
        else:
            assert check_email(email) == email


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_an_events_id_is_a_uuid_of_version_5(sync: str, event: str, values: list[str]) -> None:
    expected = uuid.uuid5(EVENT_ID_NAMESPACE, join_key([sync, event, *values]).hex())
    assert EventIds(sync, event)(values) == str(expected)


def renderer(mapping: IterableDestination = MAPPING, sync_name: str = "views") -> RowRenderer:
    return RowRenderer(sync_name, ("view_id",), mapping)


def bodies(mapping: IterableDestination = MAPPING, **changes: Any) -> list[dict[str, Any]]:
    return [orjson.loads(call.body) for call in renderer(mapping)({**ROW, **changes}).calls]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"email": None}, "identifier_missing"),
        ({"email": ""}, "identifier_missing"),
        ({"email": "None"}, "email_malformed"),
        ({"email": "ada"}, "email_malformed"),
        ({"email": "ada@"}, "email_malformed"),
        ({"email": "ada@localhost"}, "email_malformed"),
        ({"email": "ada example.com"}, "email_malformed"),
        ({"email": " ada@example.com"}, "email_malformed"),
        ({"email": "a" * 65 + "@example.com"}, "email_malformed"),
        ({"email": 42}, "email_malformed"),
        ({"seen_at": None}, "created_at_missing"),
        ({"seen_at": datetime(1969, 12, 31, tzinfo=UTC)}, "created_at_out_of_range"),
        ({"view_id": None}, "event_id_missing"),
        ({"first_name": float("nan")}, "not_finite"),
        ({"first_name": "x" * 4_000_001}, "too_large"),
    ],
)
def test_a_row_that_must_not_be_sent_is_refused_with_its_reason(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidRow) as caught:
        renderer()({**ROW, **changes})
    assert caught.value.code == code


@pytest.mark.parametrize("depth", [253, 900])
def test_json_nested_deeper_than_can_be_written_refuses_the_row_and_stops_nothing(depth: int) -> None:
    mapping = IterableDestination(email="email", user=UserUpdate((Field("first_name", kind="json"),)))
    row = {**ROW, "first_name": "[" * depth + "]" * depth}
    with pytest.raises(InvalidRow, match="not_json"):
        renderer(mapping)(row)
    assert renderer(mapping)({**row, "first_name": "[" * 99 + "]" * 99}).calls


@pytest.mark.parametrize("user_id", ["x" * 53, "ends with blank ", "ümlaut", "tab\there", True])
def test_a_malformed_user_id_is_refused(user_id: object) -> None:
    with pytest.raises(InvalidRow, match="user_id_malformed|not_text"):
        renderer(BOTH_IDS)({**ROW, "user_id": user_id})


def test_a_row_becomes_an_update_and_then_an_event() -> None:
    assert bodies() == [
        {"email": "Ada@Example.com", "dataFields": {"first_name": "Ada", "recent_page_view": True}},
        {
            "email": "Ada@Example.com",
            "eventName": "page_view",
            "id": EventIds("views", "page_view")([41]),
            "createdAt": 1768293015,
            "dataFields": {"page": "pricing", "timestamp": "2026-01-13 08:30:15 +00:00"},
        },
    ]


@pytest.mark.parametrize(
    ("user_id", "email", "identity"),
    [
        (7, "ada@example.com", {"email": "ada@example.com", "userId": "7"}),
        (7, None, {"userId": "7"}),
        (None, "ada@example.com", {"email": "ada@example.com"}),
        ("", "ada@example.com", {"email": "ada@example.com"}),
    ],
)
def test_a_row_may_lack_one_of_two_identifiers(user_id: object, email: object, identity: dict[str, str]) -> None:
    (body,) = bodies(BOTH_IDS, user_id=user_id, email=email)
    assert {name: body[name] for name in ("email", "userId") if name in body} == identity


def test_the_same_row_has_the_same_event_id_and_another_row_another_one() -> None:
    first, again, other = (bodies(**changes)[1]["id"] for changes in ({}, {"page": "settings"}, {"view_id": 42}))
    assert first == again
    assert first != other
    assert set(first) <= set("0123456789abcdef-")


def test_event_ids_of_two_events_or_syncs_never_meet() -> None:
    ids = {EventIds(sync, event)([1]) for sync in ("a", "b") for event in ("seen", "left")}
    assert len(ids) == 4


def test_e_mails_that_differ_in_case_are_one_person() -> None:
    assert renderer()(ROW).identifiers == renderer()({**ROW, "email": "ada@example.COM"}).identifiers


def test_null_deletes_a_profile_field_and_is_left_out_of_an_event() -> None:
    update, event = bodies(first_name=None, page=None)
    assert update["dataFields"] == {"first_name": None, "recent_page_view": True}
    assert "page" not in event["dataFields"]


@pytest.mark.parametrize("text", ["Zoë 渡辺 🎉", "x" * 65_536, "", "None", "\x00\x1f"])
def test_any_text_arrives_as_it_is(text: str) -> None:
    assert bodies(first_name=text)[0]["dataFields"]["first_name"] == text


def test_times_are_written_in_utc_as_iterable_reads_them() -> None:
    berlin = datetime(2026, 1, 13, 1, 0, tzinfo=timezone(timedelta(hours=1)))
    assert iterable_datetime(berlin) == "2026-01-13 00:00:00 +00:00"


def test_nested_objects_are_merged_when_asked_for() -> None:
    mapping = IterableDestination(email="email", user=UserUpdate((Field("first_name"),), merge_nested_objects=True))
    assert bodies(mapping)[0]["mergeNestedObjects"] is True
