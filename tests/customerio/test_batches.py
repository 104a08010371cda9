from __future__ import annotations

from typing import Any

import orjson
import pytest

from reverse_etl.customerio import messages
from reverse_etl.customerio.batches import batch_body, packed
from reverse_etl.customerio.limits import LARGEST_BATCH_BYTES
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.errors import AuthenticationRefused, CallRejected, DestinationError, DestinationUnavailable
from tests.customerio.platform import Workspace, client


def people(count: int, size: int = 10) -> list[messages.Message]:
    return [messages.identify(f"p{number}", {"a": "x" * size}) for number in range(count)]


def refuse(*users: str) -> Any:
    return lambda message: message["userId"] in users


@pytest.mark.parametrize(
    ("sizes", "limit", "packs"),
    [
        ([], 100, []),
        ([10], 5, [1]),
        ([10, 10], 100, [2]),
        ([10, 10, 10], 10 + 10 + 1 + 12, [2, 1]),
        ([10, 10, 10], 10 + 10 + 11, [1, 1, 1]),
        ([10] * 5, 10 + 12 + 11, [2, 2, 1]),
    ],
)
def test_packs_are_as_full_as_the_limit_allows(sizes: list[int], limit: int, packs: list[int]) -> None:
    bodies = [b"x" * size for size in sizes]
    places = list(packed(bodies, limit))
    assert [place.stop - place.start for place in places] == packs
    assert b"".join(body for place in places for body in bodies[place]) == b"".join(bodies)
    assert all(len(batch_body(bodies[place])) <= limit for place in places if place.stop - place.start > 1)


async def test_a_batch_is_never_over_the_limit_and_nearly_full(there: Workspace) -> None:
    async with client(there.url) as opened:
        verdicts = await opened.batch(people(120, 30_000))
    assert all(isinstance(verdict, Receipt) for verdict in verdicts)
    assert max(there.sizes) <= LARGEST_BATCH_BYTES
    assert min(there.sizes[:-1]) > LARGEST_BATCH_BYTES - 31_000
    assert [message["userId"] for message in there.messages] == [f"p{number}" for number in range(120)]


async def test_a_bad_message_costs_only_itself_in_few_requests(there: Workspace) -> None:
    there.refuse = refuse("p700")
    async with client(there.url) as opened:
        verdicts = await opened.batch(people(1_000))
    refused = [place for place, verdict in enumerate(verdicts) if not isinstance(verdict, Receipt)]
    assert refused == [700]
    assert isinstance(verdicts[700], CallRejected)
    assert len(there.requests) <= 1 + 2 * 10


async def test_many_bad_messages_cost_no_more_than_going_singly(there: Workspace) -> None:
    there.refuse = lambda message: int(message["userId"][1:]) % 2 == 0
    async with client(there.url) as opened:
        verdicts = await opened.batch(people(400))
    assert [isinstance(verdict, Receipt) for verdict in verdicts] == [False, True] * 200
    assert len(there.requests) < 600


@pytest.mark.parametrize("reply", [(200, b'{"success":false}'), (413, b""), (400, b"")])
async def test_any_refusal_of_the_batch_is_divided(there: Workspace, reply: Any) -> None:
    there.refuse, there.refusal = refuse("p1"), reply
    async with client(there.url) as opened:
        verdicts = await opened.batch(people(3))
    assert [isinstance(verdict, Receipt) for verdict in verdicts] == [True, False, True]


async def test_a_message_given_twice_is_sent_once_and_another_under_its_id_is_rejected(there: Workspace) -> None:
    first = messages.identify("ada", {"plan": "pro"}, message_id="m-1")
    same = messages.identify("ada", {"plan": "pro"}, message_id="m-1")
    other = messages.identify("ada", {"plan": "free"}, message_id="m-1")
    async with client(there.url) as opened:
        verdicts = await opened.batch([first, same, other])
    assert verdicts[0] is verdicts[1]
    assert isinstance(verdicts[2], CallRejected)
    assert (verdicts[2].code, verdicts[2].tries) == ("duplicate_id", 0)
    assert len(there.messages) == 1


async def test_a_refused_key_ends_the_batch(there: Workspace) -> None:
    there.replies = [(401, b"")]
    async with client(there.url) as opened:
        with pytest.raises(AuthenticationRefused):
            await opened.batch(people(100, 30_000))
    assert len(there.requests) == 1


async def test_a_host_that_is_down_is_given_up_after_a_few_packs(there: Workspace) -> None:
    there.replies = [(503, b"")] * 100
    async with client(there.url, tries=1) as opened:
        verdicts = await opened.batch(people(320, 30_000))
    assert len(there.requests) == 3
    assert all(isinstance(verdict, DestinationError) for verdict in verdicts)
    assert isinstance(verdicts[-1], DestinationUnavailable)


async def test_an_empty_batch_sends_nothing(there: Workspace) -> None:
    async with client(there.url) as opened:
        assert await opened.batch([]) == []
    assert there.requests == []


async def test_messages_of_every_type_share_a_batch(there: Workspace) -> None:
    every = [
        messages.identify("ada"),
        messages.track("ada", "seen"),
        messages.group("g"),
        messages.page("ada"),
        messages.screen("ada"),
        messages.alias("ada", "a"),
    ]
    async with client(there.url) as opened:
        await opened.batch(every)
    assert [message["type"] for message in orjson.loads(there.bodies[0])["batch"]] == [
        message.type for message in every
    ]
