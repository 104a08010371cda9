"""Taking users off a list: every row has its true verdict, whoever is known or not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from reverse_etl.delivery.destination import Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.errors import InvalidRow, WrongDestination
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import IterableRemoval, RemoveFromList
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.iterable.limits import Endpoint, Limit
from reverse_etl.iterable.removal import ListDelivery
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer

NO_LIMITS = {endpoint: Limit(per_second=10_000) for endpoint in Endpoint}
UNSUBSCRIBE = "POST /api/lists/unsubscribe"


async def no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
def customers(sandbox: SandboxServer) -> int:
    """A list with p0 to p9."""
    sandbox.settings(limits="off")
    number: int = sandbox.post("/api/lists", {"name": "customers"})["listId"]
    people = [{"email": f"p{person}@example.com", "userId": f"u{person}"} for person in range(10)]
    sandbox.post("/api/lists/subscribe", {"listId": number, "subscribers": people})
    return number


async def remove(sandbox: SandboxServer, action: RemoveFromList, *rows: Mapping[str, Any]) -> list[Verdict]:
    mapping = IterableRemoval("email", "user_id", "iterable_default", action)
    connection = IterableConnection(api_key=SERVER_KEY, host=sandbox.url)
    async with IterableClient(connection, retry=RetryPolicy(sleep=no_wait), limits=NO_LIMITS) as client:
        delivery = ListDelivery(client, mapping, action, requests_in_flight=10)
        calls = [call for row in rows for call in delivery.render(row).calls]
        return list(await delivery.send(calls))


def codes(verdicts: list[Verdict]) -> list[str]:
    return ["delivered" if isinstance(verdict, Receipt) else verdict.code for verdict in verdicts]


def row(number: int, **changes: object) -> dict[str, object]:
    return {"email": f"p{number}@example.com", "user_id": f"u{number}", **changes}


def subscriptions(sandbox: SandboxServer, number: int) -> tuple[list[int], list[int]]:
    fields = sandbox.get(f"/api/users/p{number}@example.com")["user"]["dataFields"]
    return fields.get("emailListIds", []), fields.get("unsubscribedChannelIds", [])


@pytest.mark.parametrize("channel", [False, True])
async def test_one_request_takes_many_off_and_leaves_the_others(
    sandbox: SandboxServer, customers: int, channel: bool
) -> None:
    action = RemoveFromList(customers, unsubscribe_channel=channel)
    verdicts = await remove(sandbox, action, row(1), row(2, email=None), row(3, email="P3@Example.com", user_id=None))
    assert codes(verdicts) == ["delivered"] * 3
    left = ([], [1] if channel else [])
    assert [subscriptions(sandbox, number) for number in range(5)] == [([1], []), left, left, left, ([1], [])]
    assert sum(sandbox.stats()["requests"][UNSUBSCRIBE].values()) == 1


async def test_who_is_not_known_or_was_taken_off_before_counts_as_taken_off(
    sandbox: SandboxServer, customers: int
) -> None:
    action = RemoveFromList(customers)
    for _ in range(2):
        assert (
            codes(await remove(sandbox, action, row(1), row(11), row(2, email=None, user_id="u22")))
            == ["delivered"] * 3
        )


async def test_a_refused_row_costs_only_itself(sandbox: SandboxServer, customers: int) -> None:
    action = RemoveFromList(customers)
    verdicts = await remove(sandbox, action, row(1), row(2, email="a@example.c0m"), row(3))
    assert codes(verdicts) == ["delivered", "invalid_identifier", "delivered"]


async def test_a_row_the_answer_does_not_explain_is_left_for_the_next_try(
    sandbox: SandboxServer, customers: int
) -> None:
    sandbox.faults([{"kind": "refuse_rows", "list": "unexplained", "match_email": "p2@example.com", "times": 1}])
    action = RemoveFromList(customers)
    verdicts = await remove(sandbox, action, row(1), row(2))
    assert codes(verdicts) == ["unreadable"] * 2
    assert codes(await remove(sandbox, action, row(1), row(2))) == ["delivered"] * 2


async def test_a_request_refused_as_a_whole_is_sent_in_halves(sandbox: SandboxServer, customers: int) -> None:
    sandbox.settings(max_bulk_items=2)
    verdicts = await remove(sandbox, RemoveFromList(customers), *map(row, range(5)))
    assert codes(verdicts) == ["delivered"] * 5


async def test_an_unknown_list_stops_everything(sandbox: SandboxServer) -> None:
    with pytest.raises(WrongDestination, match="no such list"):
        await remove(sandbox, RemoveFromList(4), row(1))


async def test_a_row_that_names_nobody_is_refused_before_sending(sandbox: SandboxServer) -> None:
    with pytest.raises(InvalidRow):
        await remove(sandbox, RemoveFromList(1), row(1, email=None, user_id=None))
