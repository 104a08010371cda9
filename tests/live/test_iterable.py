"""What a real project does; a test named `settles` fails where it differs from what the sandbox does by default."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from reverse_etl.delivery.verdicts import tell_nobody
from reverse_etl.errors import AuthenticationRefused, CallRejected
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.iterable.destination import IterableDelivery
from reverse_etl.mapping import Field
from tests.live.accounts import Iterable

TEXT, WHOLE = "reverse_etl_live_text", "reverse_etl_live_whole"
"""Always the same fields, because a project keeps every field it has ever seen."""

EVENT = "reverse_etl_live"
NOON = datetime(2026, 1, 13, 12, tzinfo=UTC)
MAPPING = IterableDestination(
    email="email",
    user=UserUpdate((Field(TEXT, column="text"), Field(WHOLE, column="whole"))),
    event=EventTrack(EVENT, created_at="at", fields=(Field("page"),)),
)


def row(email: str, **changed: Any) -> dict[str, Any]:
    return {"id": uuid4().hex, "email": email, "text": "Zoë 東京", "whole": 7, "at": NOON, "page": "home", **changed}


async def update(account: Iterable, email: str, **fields: object) -> int:
    body = {"email": email, "dataFields": fields}
    return (await account.request("POST", "/api/users/update", body)).status


async def test_a_wrong_key_is_told_from_everything_else(iterable: Iterable) -> None:
    connection = replace(iterable.connection, api_key="0" * 32)
    async with IterableClient(connection) as opened:
        with pytest.raises(AuthenticationRefused) as refused:
            await opened.update_user({"email": iterable.person(), "dataFields": {}})
    assert (refused.value.status, refused.value.code) == (401, "BadApiKey")


@pytest.mark.parametrize("calls", ["single", "bulk"])
async def test_a_row_arrives_as_it_was_and_its_event_once_however_often_it_is_sent(
    iterable: Iterable, calls: Any
) -> None:
    email = iterable.person()
    async with iterable.client() as opened:
        delivery = IterableDelivery(opened, "live", ("id",), MAPPING, calls=calls, requests_in_flight=1)
        rendered = delivery.render(row(email))
        for call in [*rendered.calls, *rendered.calls]:
            (verdict,) = await delivery.send([call], tell_nobody)
            assert not isinstance(verdict, Exception), verdict
    fields = await iterable.until(lambda: iterable.user(email))
    assert (fields[TEXT], fields[WHOLE]) == ("Zoë 東京", 7)
    (event,) = await iterable.until(lambda: iterable.events(email))
    assert event["eventName"] == EVENT


async def test_a_bad_row_of_a_bulk_request_costs_only_itself(iterable: Iterable) -> None:
    good = iterable.person()
    async with iterable.client() as opened:
        delivery = IterableDelivery(opened, "live", ("id",), MAPPING, calls="bulk", requests_in_flight=1)
        users = [
            delivery.render(row(email)).calls[0]
            for email in (good, f"{uuid4().hex}@reverse-etl-live.no-such-top-level-domain")
        ]
        first, second = await delivery.send(users, tell_nobody)
    assert not isinstance(first, Exception), first
    assert isinstance(second, CallRejected)
    assert await iterable.until(lambda: iterable.user(good))


async def test_settles_a_text_in_a_whole_number_field_is_a_400(iterable: Iterable) -> None:
    assert await update(iterable, iterable.person(), **{WHOLE: 7}) == 200
    assert await update(iterable, iterable.person(), **{WHOLE: "seven"}) == 400


async def test_settles_a_fraction_in_a_whole_number_field_is_a_400(iterable: Iterable) -> None:
    """The sandbox's setting is `double_in_long_field`."""
    assert await update(iterable, iterable.person(), **{WHOLE: 7}) == 200
    assert await update(iterable, iterable.person(), **{WHOLE: 7.5}) == 400


async def test_settles_a_user_id_that_is_a_number_is_a_400(iterable: Iterable) -> None:
    body = {"userId": 4711, "dataFields": {}}
    assert (await iterable.request("POST", "/api/users/update", body)).status == 400


async def test_settles_blanks_around_an_email_are_a_400(iterable: Iterable) -> None:
    """The sandbox's setting is `trim_emails`; our client refuses such an e-mail before it is sent."""
    assert await update(iterable, f" {iterable.person()}") == 400


async def test_settles_an_email_is_kept_in_small_letters(iterable: Iterable) -> None:
    email = iterable.person()
    assert await update(iterable, email.replace("live", "LIVE"), **{WHOLE: 7}) == 200
    assert (await iterable.until(lambda: iterable.user(email)))["email"] == email


async def test_settles_an_event_of_an_unknown_user_is_a_400(iterable: Iterable) -> None:
    """The sandbox's setting is `track_unknown_user`; it is why the update goes before the event."""
    body = {"email": iterable.person(), "eventName": EVENT, "createdAt": int(NOON.timestamp())}
    assert (await iterable.request("POST", "/api/events/track", body)).status == 400


async def test_settles_a_time_of_an_event_as_text_is_a_400(iterable: Iterable) -> None:
    email = iterable.person()
    assert await update(iterable, email) == 200
    body = {"email": email, "eventName": EVENT, "createdAt": "2026-01-13T12:00:00Z"}
    assert (await iterable.request("POST", "/api/events/track", body)).status == 400
