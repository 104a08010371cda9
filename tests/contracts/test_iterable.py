"""What the renderer and the bulk shapes write for any row fits Iterable's own schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from reverse_etl.errors import InvalidRow
from reverse_etl.iterable.bulk import CLOSING, SHAPES
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.iterable.payloads import EVENT_TRACK, USER_UPDATE, RowRenderer
from reverse_etl.mapping import Field
from tests.contracts.specs import spec

REQUESTS = {USER_UPDATE: "ApiUserUpdateRequest", EVENT_TRACK: "TrackRequest"}
BULK_REQUESTS = {USER_UPDATE: "BulkUpdateUsersRequest", EVENT_TRACK: "BulkTrackRequest"}

RENDER = RowRenderer(
    "contract",
    ("id",),
    IterableDestination(
        email="email",
        user_id="user_id",
        user=UserUpdate((Field("value"),), merge_nested_objects=True),
        event=EventTrack("happened", created_at="at", fields=(Field("value"),)),
    ),
)
values = st.none() | st.text() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats() | st.decimals()
rows = st.fixed_dictionaries(
    {
        "id": st.integers(0, 2**62),
        "email": st.none() | st.just("anna@example.com"),
        "user_id": st.none() | st.text(max_size=60) | st.integers(),
        "at": st.none() | st.datetimes(timezones=st.just(UTC)),
        "value": values | st.datetimes(timezones=st.just(UTC)),
    }
)


def validator(definition: str) -> Draft4Validator:
    document = spec("iterable_swagger.json")
    return Draft4Validator({"definitions": document["definitions"], "$ref": f"#/definitions/{definition}"})


@given(st.lists(rows, min_size=1, max_size=3))
def test_calls_of_any_rows_fit_the_schema_alone_and_in_bulk(given_rows: list[dict[str, Any]]) -> None:
    bodies: dict[str, list[bytes]] = {USER_UPDATE: [], EVENT_TRACK: []}
    for row in given_rows:
        try:
            rendered = RENDER(row)
        except InvalidRow:
            continue
        for call in rendered.calls:
            bodies[call.kind].append(call.body)
            validator(REQUESTS[call.kind]).validate(orjson.loads(call.body))
    for kind, calls in bodies.items():
        bulk = SHAPES[kind].opening + b",".join(calls) + CLOSING
        validator(BULK_REQUESTS[kind]).validate(orjson.loads(bulk))


@pytest.mark.parametrize("wrong", [{"email": 1}, {"user_id": True}, {"at": "2026-01-13"}, {"at": None}])
def test_what_the_schema_refuses_is_refused_before_sending(wrong: dict[str, object]) -> None:
    row = {"id": 1, "email": "anna@example.com", "user_id": "1", "at": datetime(2026, 1, 13, tzinfo=UTC), "value": 1}
    with pytest.raises(InvalidRow):
        RENDER({**row, **wrong})
