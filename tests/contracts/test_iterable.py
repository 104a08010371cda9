"""What the renderer and the bulk shapes write for any row fits Iterable's own schema."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from reverse_etl.delivery.privacy import Action, PersonId
from reverse_etl.delivery.verdicts import tell_nobody
from reverse_etl.errors import InvalidRow
from reverse_etl.iterable.bulk import CLOSING, SHAPES
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import EventTrack, IterableDestination, IterableRemoval, RemoveFromList, UserUpdate
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.iterable.destination import IterableDelivery
from reverse_etl.iterable.payloads import EVENT_TRACK, USER_UPDATE, RowRenderer
from reverse_etl.iterable.privacy import ENDPOINTS, IterablePrivacy
from reverse_etl.iterable.removal import ListDelivery
from reverse_etl.mapping import Field
from tests.contracts.specs import spec

REQUESTS = {USER_UPDATE: "ApiUserUpdateRequest", EVENT_TRACK: "TrackRequest"}
BULK_REQUESTS = {USER_UPDATE: "BulkUpdateUsersRequest", EVENT_TRACK: "BulkTrackRequest"}

MAPPING = IterableDestination(
    email="email",
    user_id="user_id",
    user=UserUpdate((Field("value"),), merge_nested_objects=True),
    event=EventTrack("happened", created_at="at", fields=(Field("value"),)),
)
RENDER = RowRenderer("contract", ("id",), MAPPING)
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


ROW = {"id": 1, "email": "anna@example.com", "user_id": "1", "at": datetime(2026, 1, 13, tzinfo=UTC), "value": 1}
ANSWERS = {
    "bulkUpdate": b'{"successCount":1,"failCount":0,"failedUpdates":{}}',
    "unsubscribe": b'{"successCount":1,"failCount":0}',
    "trackBulk": b'{"successCount":1,"failCount":0,"failedUpdates":{}}',
}
Send = Callable[[IterableClient], Awaitable[object]]


@asynccontextmanager
async def wire() -> AsyncIterator[tuple[IterableClient, list[tuple[str, Any]]]]:
    """Give a client, and path and body of each of its requests as they came over the wire."""
    seen: list[tuple[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        seen.append((request.path, orjson.loads(await request.read())))
        success = b'{"msg":"","code":"Success","params":null}'
        return web.Response(body=ANSWERS.get(request.path.rpartition("/")[2], success), content_type="application/json")

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with IterableClient(IterableConnection(api_key="key", host=host)) as client:
            yield client, seen
    finally:
        await runner.cleanup()


def check(path: str, body: Any) -> None:
    """Validate a request against what the document wants at its path."""
    (wanted,) = [
        parameter["schema"]["$ref"]
        for parameter in spec("iterable_swagger.json")["paths"][path]["post"]["parameters"]
        if parameter["in"] == "body"
    ]
    validator(wanted.rpartition("/")[2]).validate(body)


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
    with pytest.raises(InvalidRow):
        RENDER({**ROW, **wrong})


def take_off(opened: IterableClient, action: RemoveFromList) -> Awaitable[object]:
    mapping = IterableRemoval("email", "user_id", "iterable_default", action)
    delivery = ListDelivery(opened, mapping, action, requests_in_flight=1)
    return delivery.send(delivery.render(ROW).calls)


CALLS: dict[str, tuple[str, Send]] = {
    "update": (
        "/api/users/update",
        lambda opened: opened.update_user({"email": "anna@example.com", "dataFields": {"plan": "pro"}}),
    ),
    "track": (
        "/api/events/track",
        lambda opened: opened.track_event({"userId": "1", "eventName": "seen", "id": "e", "createdAt": 1768293015}),
    ),
    **{
        action.value: (
            ENDPOINTS[action].value,
            lambda opened, action=action: IterablePrivacy(opened, "a").privacy(action, [PersonId("anna@example.com")]),
        )
        for action in ENDPOINTS
    },
    **{
        f"take off list {action.list_id}": (
            "/api/lists/unsubscribe",
            lambda opened, action=action: take_off(opened, action),
        )
        for action in (RemoveFromList(1), RemoveFromList(2, unsubscribe_channel=True))
    },
    "forget by user id": (
        "/api/users/forget",
        lambda opened: IterablePrivacy(opened, "a").privacy(Action.FORGET, [PersonId(user_id="1")]),
    ),
}


@pytest.mark.parametrize(("path", "send"), CALLS.values(), ids=CALLS)
async def test_every_call_of_the_client_fits_the_schema_of_its_path(path: str, send: Send) -> None:
    async with wire() as (opened, seen):
        await send(opened)
    ((asked, body),) = seen
    assert asked == path
    check(asked, body)


@pytest.mark.parametrize("calls", ["single", "bulk"])
async def test_what_a_sync_sends_fits_the_schema_of_its_path(calls: Any) -> None:
    async with wire() as (opened, seen):
        delivery = IterableDelivery(opened, "contract", ("id",), MAPPING, calls=calls, requests_in_flight=1)
        for call in delivery.render(ROW).calls:
            await delivery.send([call], tell_nobody)
    paths = {"single": ("users/update", "events/track"), "bulk": ("users/bulkUpdate", "events/trackBulk")}
    assert [path for path, _ in seen] == [f"/api/{path}" for path in paths[calls]]
    for path, body in seen:
        check(path, body)
