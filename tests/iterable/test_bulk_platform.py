"""Bulk requests against a platform that answers in ways the sandbox does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web

from reverse_etl.delivery.destination import Call, Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.errors import AuthenticationRefused
from reverse_etl.iterable.bulk import MOST_REFUSED_REQUESTS, BulkSender
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.iterable.limits import Endpoint, Limit
from reverse_etl.iterable.payloads import USER_UPDATE

NO_LIMITS = {endpoint: Limit(per_second=10_000) for endpoint in Endpoint}
SUCCESS = 200, {"msg": "", "code": "Success", "params": None}
BULK, SINGLE = "/api/users/bulkUpdate", "/api/users/update"

Answer = tuple[int, dict[str, Any]]


def update(number: int) -> Call:
    email = f"p{number}@example.com"
    return Call(USER_UPDATE, orjson.dumps({"email": email, "dataFields": {"n": number}}), {"email": email})


def numbers(users: list[dict[str, Any]]) -> list[int]:
    return [user["dataFields"]["n"] for user in users]


def refused(code: str, status: int = 400, **params: str) -> Answer:
    return status, {"msg": "", "code": code, "params": params}


def applied(rows: list[int]) -> Answer:
    return 200, {"successCount": len(rows), "failCount": 0}


async def no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


class Platform:
    """Answers a bulk request with `bulk` of its row numbers, a single one with `single` of its number."""

    def __init__(self, bulk: Callable[[list[int]], Answer], single: Callable[[int], Answer]) -> None:
        self.bulk, self.single = bulk, single
        self.requests: Counter[str] = Counter()

    async def answer(self, request: web.Request) -> web.Response:
        self.requests[request.path] += 1
        body = orjson.loads(await request.read())
        if request.path == BULK:
            status, said = self.bulk(numbers(body["users"]))
        else:
            [number] = numbers([body])
            await asyncio.sleep(0.01 if number else 0)
            status, said = self.single(number)
        return web.json_response(said, status=status)

    @asynccontextmanager
    async def sender(self) -> AsyncIterator[BulkSender]:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/{path:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            connection = IterableConnection(api_key="k" * 32, host=f"http://{host}:{port}")
            async with IterableClient(connection, retry=RetryPolicy(sleep=no_wait), limits=NO_LIMITS) as client:
                yield BulkSender(client, sleep=no_wait)
        finally:
            await runner.cleanup()


def codes(verdicts: list[Verdict]) -> Counter[str]:
    return Counter("delivered" if isinstance(verdict, Receipt) else verdict.code for verdict in verdicts)


async def test_bad_rows_named_one_at_a_time_cost_a_bounded_number_of_bulk_requests() -> None:
    def bulk(rows: list[int]) -> Answer:
        bad = [place for place, number in enumerate(rows) if number < 700]
        return refused("BadJsonBody", **{f"obj.users[{bad[0]}].x": "no"}) if bad else applied(rows)

    platform = Platform(bulk, lambda number: refused("BadJsonBody") if number < 700 else SUCCESS)
    async with platform.sender() as sender:
        verdicts = await sender.send([update(number) for number in range(1000)])
    assert codes(verdicts) == {"BadJsonBody": 700, "delivered": 300}
    assert all(isinstance(verdict, Receipt) == (number >= 700) for number, verdict in enumerate(verdicts))
    assert platform.requests[BULK] == MOST_REFUSED_REQUESTS + 1


@pytest.mark.parametrize("named", ["obj.users[9999].x", "obj.users", "obj.users[-1].x"])
async def test_a_bad_row_named_by_no_place_of_the_request_is_found_by_dividing(named: str) -> None:
    def bulk(rows: list[int]) -> Answer:
        return refused("BadJsonBody", **{named: "no"}) if 5 in rows else applied(rows)

    platform = Platform(bulk, lambda number: SUCCESS)
    async with platform.sender() as sender:
        verdicts = await sender.send([update(number) for number in range(100)])
    assert codes(verdicts) == {"BadJsonBody": 1, "delivered": 99}
    assert not isinstance(verdicts[5], Receipt)


async def test_a_refused_account_ends_the_single_requests_too() -> None:
    def single(number: int) -> Answer:
        return SUCCESS if number else refused("BadApiKey", 401)

    platform = Platform(lambda rows: (200, {"successCount": 0, "failCount": len(rows)}), single)
    async with platform.sender() as sender:
        with pytest.raises(AuthenticationRefused):
            await sender.send([update(number) for number in range(1000)])
        await asyncio.sleep(0.3)  # what was on its way may still arrive
    assert platform.requests[SINGLE] < 500


@pytest.mark.parametrize("code", ["UnknownEmailError", "UnknownUserIdError"])
async def test_one_unknown_person_does_not_cost_the_others_of_the_request(code: str) -> None:
    def bulk(rows: list[int]) -> Answer:
        return refused(code) if 5 in rows else applied(rows)

    platform = Platform(bulk, lambda number: refused(code) if number == 5 else SUCCESS)
    async with platform.sender() as sender:
        verdicts = await sender.send([update(number) for number in range(100)])
    assert codes(verdicts) == {code: 1, "delivered": 99}
    assert not isinstance(verdicts[5], Receipt)
