"""What is known of the messages of a pack while others of it are sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import orjson
import pytest

from reverse_etl.customerio.batches import MOST_REFUSED_REQUESTS, SINGLY_AT_ONCE, BatchSender
from reverse_etl.delivery.destination import Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.errors import AuthenticationRefused, CallRejected


class Told:
    """A platform that refuses batches with a bad message, and who is told what became of the others."""

    def __init__(self, bad: set[int], *, refuses_after: int = 1000) -> None:
        self.bad = bad
        self.refuses_after = refuses_after
        self.requests = 0
        self.places: dict[int, Verdict] = {}
        self.open_at_a_request: list[list[int]] = []

    async def post(self, body: bytes) -> Receipt:
        numbers: list[int] = orjson.loads(body)["batch"]
        self.open_at_a_request.append([number for number in numbers if number not in self.places])
        assert self.open_at_a_request[-1] == numbers
        self.requests += 1
        await asyncio.sleep(0)
        if self.requests > self.refuses_after:
            raise AuthenticationRefused("no", status=401)
        if self.bad.intersection(numbers):
            raise CallRejected("no", status=400, code="bad")
        return Receipt(200)

    async def __call__(self, found: Mapping[int, Verdict]) -> None:
        assert not found.keys() & self.places.keys()
        self.places |= found

    async def send(self, count: int) -> list[Verdict]:
        return await BatchSender(self.post).send_pack([b"%d" % number for number in range(count)], self)


async def test_a_pack_that_is_taken_has_nothing_to_tell_before_its_end() -> None:
    told = Told(set())
    assert [type(verdict) for verdict in await told.send(10)] == [Receipt] * 10
    assert (told.places, told.requests) == ({}, 1)


@pytest.mark.parametrize("bad", [{7}, {0, 5}, set(range(0, 64, 2)), set(range(8))])
async def test_what_is_known_is_told_before_the_rest_is_sent_again_and_told_once(bad: set[int]) -> None:
    told = Told(bad)
    verdicts = await told.send(64)
    assert {number for number, verdict in enumerate(verdicts) if not isinstance(verdict, Receipt)} == bad
    assert all(verdicts[place] is verdict for place, verdict in told.places.items())
    assert 0 < 64 - len(told.places) <= 64 // 2


async def test_what_was_taken_before_the_account_is_refused_is_told() -> None:
    told = Told({63}, refuses_after=3)
    with pytest.raises(AuthenticationRefused):
        await told.send(64)
    assert sorted(told.places) == list(range(32))


async def test_no_message_is_sent_after_the_account_was_refused_for_another_that_goes_singly() -> None:
    count = 200
    told = Told(set(range(count)), refuses_after=MOST_REFUSED_REQUESTS + 30)
    with pytest.raises(AuthenticationRefused):
        await told.send(count)
    sent = told.requests
    await asyncio.sleep(0.05)
    assert told.requests == sent <= MOST_REFUSED_REQUESTS + 30 + SINGLY_AT_ONCE
    assert len(told.places) > 0


async def test_a_pack_of_bad_messages_is_told_message_by_message_once_they_go_singly() -> None:
    count = 2 * MOST_REFUSED_REQUESTS
    told = Told(set(range(count)))
    assert all(isinstance(verdict, CallRejected) for verdict in await told.send(count))
    assert MOST_REFUSED_REQUESTS // 2 < len(told.places) < count
