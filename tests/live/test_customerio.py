"""What a real workspace answers; a test named `settles` fails where it differs from what the sandbox does by default.

The Pipelines API has nothing to read with, so these tests know statuses and bodies and not what became of a message.
"""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from reverse_etl.customerio import messages
from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.semantic import people
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.errors import AuthenticationRefused
from tests.live.accounts import CustomerIO, basic

EVENT = "reverse_etl_live"
GROUP = "reverse-etl-live"

Send = Callable[[CustomerIOClient, str], Awaitable[Receipt]]
CALLS: dict[str, Send] = {
    "identify": lambda client, user: client.identify(user, {"plan": "pro"}),
    "track": lambda client, user: client.track(user, EVENT, {"page": "pricing"}),
    "group": lambda client, user: client.group(GROUP, user, {"objectTypeId": "1", "name": "Live"}),
    "page": lambda client, user: client.page(user, "Home", {"url": "https://example.com/"}),
    "screen": lambda client, user: client.screen(user, "Home"),
    "alias": lambda client, user: client.alias(user, f"before-{user}"),
}


async def test_a_wrong_key_is_told_from_everything_else(customerio: CustomerIO) -> None:
    connection = replace(customerio.connection, api_key="0" * 20, region="")
    async with CustomerIOClient(connection) as opened:
        with pytest.raises(AuthenticationRefused):
            await opened.identify(customerio.person())


@pytest.mark.parametrize("call", CALLS)
async def test_every_call_is_taken_in_strict_mode(customerio: CustomerIO, call: str) -> None:
    user = customerio.person()
    async with customerio.client() as opened:
        receipt = await CALLS[call](opened, user)
        if call == "group":
            await opened.track(user, people.ObjectDeleted(object_id=GROUP))
    assert receipt.status == 200


async def test_a_batch_of_all_types_and_the_events_that_act_are_taken(customerio: CustomerIO) -> None:
    user = customerio.person()
    batch = [
        messages.identify(user, {"plan": "pro"}),
        messages.track(user, EVENT),
        messages.group(GROUP, user),
        messages.page(user),
        messages.screen(user),
        messages.alias(user, f"before-{user}"),
        messages.track(user, people.DeviceCreatedOrUpdated(token="reverse-etl-live", type="ios")),
        messages.track(user, people.DeviceDeleted(token="reverse-etl-live")),
        messages.track(user, people.RelationshipDeleted(object_id=GROUP)),
        messages.track(user, people.ObjectDeleted(object_id=GROUP)),
        messages.track(user, people.UserSuppressed()),
        messages.track(user, people.UserUnsuppressed()),
        messages.track(user, people.UserDeleted()),
    ]
    async with customerio.client() as opened:
        verdicts = await opened.batch(batch)
    assert [verdict for verdict in verdicts if not isinstance(verdict, Receipt)] == []


async def test_the_test_of_a_connection_writes_nothing_and_is_answered(customerio: CustomerIO) -> None:
    async with customerio.client() as opened:
        await opened.probe()


async def test_settles_the_body_of_a_success(customerio: CustomerIO) -> None:
    """The sandbox's setting is `success_body`; the client takes either."""
    answer = await customerio.strict("identify", {"userId": customerio.person(), "traits": {}})
    assert (answer.status, answer.json) == (200, {"success": True})


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "nobody": ("track", {"event": EVENT}),
    "no event": ("track", {"userId": "USER"}),
    "a number as id": ("track", {"userId": 1, "event": EVENT}),
    "a time without a zone": ("track", {"userId": "USER", "event": EVENT, "timestamp": "2026-01-13T12:00:00"}),
    "a bad item in a batch": ("batch", {"batch": [{"type": "track", "userId": "USER"}]}),
    "an unknown type": ("batch", {"batch": [{"type": "look", "userId": "USER"}]}),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_settles_what_strict_mode_refuses_and_how(customerio: CustomerIO, case: str) -> None:
    """The sandbox's setting for the form of the answer is `error_shape`; the client reads all forms known."""
    endpoint, body = REFUSED[case]
    told = orjson.loads(orjson.dumps(body).replace(b"USER", customerio.person().encode()))
    answer = await customerio.strict(endpoint, told)
    assert answer.status == 400
    assert isinstance(answer.json["meta"]["errors"], list)


async def test_settles_a_message_over_the_size_is_a_400(customerio: CustomerIO) -> None:
    answer = await customerio.strict("track", _sized(customerio.person(), 40_000))
    assert answer.status == 400


async def test_settles_a_kilobyte_has_1024_bytes(customerio: CustomerIO) -> None:
    """The client keeps to 32,000 whatever this says."""
    answer = await customerio.strict("track", _sized(customerio.person(), 32_500))
    assert answer.status == 200


async def test_settles_an_email_in_the_traits_is_enough_to_identify(customerio: CustomerIO) -> None:
    """The sandbox's setting is `identify_by_email_trait`; our client wants an id all the same."""
    answer = await customerio.strict("identify", {"traits": {"email": customerio.person()}})
    assert answer.status == 200


async def test_settles_a_group_without_a_person_is_taken_in_a_batch(customerio: CustomerIO) -> None:
    batch = [
        {"type": "group", "groupId": GROUP, "traits": {"name": "Live"}},
        {"type": "track", "anonymousId": "nobody", "event": "Object Deleted", "properties": {"objectId": GROUP}},
    ]
    assert (await customerio.strict("batch", {"batch": batch})).status == 200


async def test_settles_a_wrong_key_without_strict_mode_is_a_200(customerio: CustomerIO) -> None:
    """The sandbox's setting is `permissive_bad_key_status`; it is why the client is always strict."""
    headers = {"Authorization": basic("0" * 20), "X-Strict-Mode": "0"}
    answer = await customerio.strict("identify", {"userId": "nobody"}, **headers)
    assert answer.status == 200


async def test_settles_gzip_is_taken(customerio: CustomerIO) -> None:
    body = gzip.compress(orjson.dumps({"userId": customerio.person(), "event": EVENT}))
    assert (await customerio.strict("track", body, **{"Content-Encoding": "gzip"})).status == 200


async def test_settles_a_new_key_is_taken_over_basic_too(customerio: CustomerIO) -> None:
    """The sandbox's setting is `new_keys_over_basic`."""
    if not customerio.connection.region_is_of_key:
        pytest.skip("CUSTOMERIO_LIVE_API_KEY is a classic key; only one that begins with sk_ or pk_ can tell")
    answer = await customerio.strict(
        "identify", {"userId": customerio.person()}, Authorization=basic(customerio.connection.api_key)
    )
    assert answer.status == 200


def _sized(user: str, size: int) -> bytes:
    """Return a track of so many bytes."""
    bare = len(orjson.dumps({"userId": user, "event": EVENT, "properties": {"text": ""}}))
    return orjson.dumps({"userId": user, "event": EVENT, "properties": {"text": "x" * (size - bare)}})
