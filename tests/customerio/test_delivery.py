"""Rows through the engine to a server: order, packs, verdicts, ids."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.customerio.destination import LANE, CustomerIODelivery
from reverse_etl.customerio.limits import LARGEST_BATCH_BYTES, LARGEST_MESSAGE_BYTES
from reverse_etl.customerio.payloads import RowRenderer
from reverse_etl.customerio.privacy import CustomerIOPrivacy
from reverse_etl.delivery.engine import DeliveryEngine
from reverse_etl.delivery.outcomes import Receipt, RowResult
from reverse_etl.delivery.privacy import Action, PersonId
from reverse_etl.errors import AuthenticationRefused, CallRejected, ConfigurationError, InvalidRow
from reverse_etl.mapping import Constant, Field
from reverse_etl.redaction import KeyHasher
from tests.customerio.platform import Workspace, client

NOON = datetime(2026, 1, 13, 12, tzinfo=UTC)
MAPPING = CustomerIODestination(
    user_id="user",
    anonymous_id="visitor",
    identify=Identify((Field("plan"), Constant("recent", value=True))),
    track=Track("page_view", timestamp="at", fields=(Field("page"),)),
)


def row(number: int = 1, **changes: object) -> dict[str, object]:
    return {"id": number, "user": f"u{number}", "visitor": None, "plan": "pro", "page": "/", "at": NOON, **changes}


def render(changed: Mapping[str, object], mapping: CustomerIODestination = MAPPING) -> list[dict[str, Any]]:
    return [orjson.loads(call.body) for call in RowRenderer("views", ("id",), mapping)(changed).calls]


# --- Rendering -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"user": None}, "identifier_missing"),
        ({"user": ""}, "identifier_missing"),
        ({"user": " u1"}, "id_malformed"),
        ({"user": 1.5}, "id_malformed"),
        ({"plan": float("nan")}, "not_finite"),
        ({"page": b"x"}, "unsupported_type"),
        ({"at": None}, "timestamp_missing"),
        ({"at": NOON.replace(tzinfo=None)}, "naive_datetime"),
        ({"id": None}, "event_id_missing"),
        ({"plan": "x" * LARGEST_MESSAGE_BYTES}, "too_large"),
        ({"page": "x" * LARGEST_MESSAGE_BYTES}, "too_large"),
    ],
)
def test_a_row_that_must_not_go_is_refused(changes: dict[str, object], code: str) -> None:
    with pytest.raises(InvalidRow) as refused:
        render(row(**changes))
    assert refused.value.code == code


def test_a_trait_customerio_reads_itself_has_its_type_or_is_null() -> None:
    mapping = replace(MAPPING, identify=Identify((Field("email", column="plan"),)))
    assert render(row(plan="a@example.com"), mapping)[0]["traits"] == {"email": "a@example.com"}
    assert render(row(plan=None), mapping)[0]["traits"] == {"email": None}
    with pytest.raises(InvalidRow, match="'email': expected text, not int") as refused:
        render(row(plan=5), mapping)
    assert refused.value.code == "wrong_type"


def test_a_subscription_preference_given_by_its_dotted_name_is_a_boolean() -> None:
    topic = "cio_subscription_preferences.topics.topic_1"
    mapping = replace(MAPPING, identify=Identify((Field(topic, column="plan", kind="boolean"),)))
    assert render(row(plan=0), mapping)[0]["traits"] == {topic: False}
    with pytest.raises(InvalidRow, match=f"'{topic}': expected True or False, not int"):
        render(row(plan=0), replace(MAPPING, identify=Identify((Field(topic, column="plan"),))))


def test_a_row_becomes_an_identify_and_an_event() -> None:
    identify, track = render(row(user=4711, visitor="v", plan=None, page=None))
    assert identify.pop("messageId") != track.pop("messageId")
    person = {"userId": "4711", "anonymousId": "v"}
    assert identify == {"type": "identify", **person, "traits": {"plan": None, "recent": True}}
    stamp = "2026-01-13T12:00:00.000Z"
    assert track == {"type": "track", **person, "event": "page_view", "properties": {}, "timestamp": stamp}


def test_the_same_row_has_the_same_messages() -> None:
    assert render(row()) == render(row())


def test_changed_data_is_a_new_identify_and_the_same_event() -> None:
    before, after = render(row(plan="free")), render(row(plan="pro", page="/corrected"))
    assert before[0]["messageId"] != after[0]["messageId"]
    assert before[1]["messageId"] == after[1]["messageId"]


def test_data_that_changes_back_is_new_where_its_time_is_known() -> None:
    dated = replace(MAPPING, identify=Identify((Field("plan"),), timestamp="at"))
    first, back = render(row(), dated), render(row(at=NOON.replace(hour=13)), dated)
    assert first[0]["messageId"] != back[0]["messageId"]
    assert back[0]["timestamp"] == "2026-01-13T13:00:00.000Z"


@pytest.mark.parametrize("other", [{"id": 2}, {}])
def test_events_of_other_rows_and_names_have_other_ids(other: dict[str, object]) -> None:
    name = "page_view" if other else "page_seen"
    renamed = replace(MAPPING, track=Track(name, timestamp="at"))
    assert render(row())[1]["messageId"] != render(row(**other), renamed)[1]["messageId"]


# --- Configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: CustomerIODestination(track=MAPPING.track), "names no person"),
        (lambda: CustomerIODestination(user_id="u"), "sends nothing"),
        (lambda: CustomerIODestination(user_id="u", identify="x"), "identify is a str, expected Identify"),
        (lambda: CustomerIODestination(user_id=5, track=MAPPING.track), "user_id is 5, expected text"),
        (lambda: replace(MAPPING, conn_id=""), "conn_id is empty"),
        (lambda: Identify(()), "fields is empty"),
        (lambda: Identify((Field("a"), Field("a"))), "'a' twice"),
        (lambda: Identify((Constant("email", 5),)), "Constant of Identify.fields: field 'email': expected text"),
        (
            lambda: Identify((Constant("cio_subscription_preferences.channels.email", 0),)),
            "channels.email': expected True or False",
        ),
        (lambda: Track(" seen", timestamp="at"), "without blanks"),
        (lambda: Track("seen", timestamp=""), "Track.timestamp"),
        (lambda: Track("seen", timestamp="at", id_columns="id"), "id_columns is a str"),
        (lambda: MAPPING.check_kinds({**KINDS, "at": "text"}), "Track.timestamp needs datetime"),
        (lambda: MAPPING.check_kinds({**KINDS, "user": "number"}), "an identifier needs"),
        (lambda: MAPPING.check_kinds({**KINDS, "page": "binary"}), "no form in JSON"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(build: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build()


KINDS = {"user": "integer", "visitor": "text", "plan": "text", "page": "text", "at": "datetime", "id": "integer"}


def test_the_columns_are_those_that_are_read() -> None:
    MAPPING.check_kinds(KINDS)
    dated = replace(MAPPING, identify=Identify((Field("plan"),), timestamp="changed"))
    assert dated.columns() == ("user", "visitor", "plan", "page", "changed", "at")


# --- Delivery --------------------------------------------------------------------------------------------------


async def deliver(there: Workspace, rows: Iterable[Mapping[str, object]], **settings: Any) -> list[RowResult]:
    results: list[RowResult] = []
    engine = DeliveryEngine(key=("id",), hash_key=KeyHasher("a key for the tests"), on_result=results.append)
    async with client(there.url, **settings) as opened:
        destination = CustomerIODelivery(opened, "views", ("id",), MAPPING, requests_in_flight=100)
        await engine.deliver(iter(rows), destination)
    return results


async def test_no_rows_send_nothing(there: Workspace) -> None:
    assert await deliver(there, []) == []
    assert there.requests == []


async def test_identifies_and_events_share_one_stream_of_batches(there: Workspace) -> None:
    results = await deliver(there, (row(number) for number in range(20_000)))
    assert {result.code for result in results} == {"delivered"}
    assert {tuple(call.call for call in result.calls) for result in results} == {("identify", "track")}
    kinds = [{message["type"] for message in orjson.loads(body)["batch"]} for body in there.bodies]
    assert {"identify", "track"} in kinds
    assert {request.path for request in there.requests} == {"/v1/batch"}
    assert len(there.requests) < 60
    assert max(there.sizes) <= LARGEST_BATCH_BYTES


async def test_large_rows_fill_batches_and_never_overfill_them(there: Workspace) -> None:
    await deliver(there, (row(number, plan="x" * 31_000, page="y" * 31_000) for number in range(200)))
    assert max(there.sizes) <= LARGEST_BATCH_BYTES
    assert LANE.body_bytes > LARGEST_BATCH_BYTES - 2_000


async def test_a_person_is_identified_before_the_event_and_row_by_row(there: Workspace) -> None:
    await deliver(there, (row(number, user=f"u{number % 7}", plan=str(number)) for number in range(210)))
    for person in range(7):
        mine = [message for message in there.messages if message["userId"] == f"u{person}"]
        assert [message["type"] for message in mine] == ["identify", "track"] * 30
        plans = [int(message["traits"]["plan"]) for message in mine[::2]]
        assert plans == sorted(plans)


async def test_a_bad_row_costs_only_itself_and_its_event_is_not_sent(there: Workspace) -> None:
    there.refuse = lambda message: message["type"] == "identify" and message["userId"] == "u500"
    results = await deliver(there, (row(number) for number in range(1_000)))
    assert [(result.outcome, result.code) for result in results if result.code != "delivered"] == [
        ("rejected", "http_400")
    ]
    assert not [message for message in there.messages if message["userId"] == "u500" and message["type"] == "track"]


async def test_a_refused_key_stops_the_batch_and_blames_no_row(there: Workspace) -> None:
    there.replies = [(401, b"")]
    with pytest.raises(AuthenticationRefused):
        await deliver(there, (row(number) for number in range(5_000)))
    assert len(there.requests) == 1


async def test_a_lost_answer_is_repeated_under_the_same_ids(there: Workspace) -> None:
    there.replies = [(500, b"")]
    await deliver(there, [row()])
    assert there.bodies[0] == there.bodies[1]


# --- Privacy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "event"),
    [
        (Action.SUPPRESS, "User Suppressed"),
        (Action.UNSUPPRESS, "User Unsuppressed"),
        (Action.DELETE, "User Deleted"),
        (Action.FORGET, "User Suppressed"),
    ],
)
async def test_a_privacy_action_is_its_event(there: Workspace, action: Action, event: str) -> None:
    there.refuse = lambda message: message["userId"] == "bob"
    async with client(there.url) as opened:
        asked = CustomerIOPrivacy(opened, "account")
        people = [PersonId(user_id="ada", email="a@example.com"), PersonId(email="e@example.com"), PersonId("", "bob")]
        verdicts = await asked.privacy(action, people)
    assert [message["userId"] for message in there.messages] == ["ada", "e@example.com", "bob"]
    assert {message["event"] for message in there.messages} == {event}
    assert [type(verdict) for verdict in verdicts] == [Receipt, Receipt, CallRejected]
    assert asked.daily_limit(action) is None


async def test_cancelling_a_delivery_leaves_nothing_behind(there: Workspace) -> None:
    there.replies = [(429, b"", {"Retry-After": "60"})]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await deliver(there, [row()])
    assert len(there.requests) == 1
