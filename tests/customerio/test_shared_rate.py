"""One rate for all who send to a workspace, on whatever path, as long as they share a ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.customerio.limits import HEADROOM, REQUESTS_PER_SECOND
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.pacing import shared_paces
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, SandboxServer

SHARE = 0.02
RATE = REQUESTS_PER_SECOND * SHARE * HEADROOM
PRIVATE_KEY = "sk_us_sandbox"


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as started:
        yield started


@asynccontextmanager
async def clients(sandbox: SandboxServer, folder: Path, *keys: str) -> AsyncIterator[list[CustomerIOClient]]:
    """Give a client for each key, each with the ledger opened anew, as tasks in processes of their own have it."""
    async with AsyncExitStack() as stack:
        opened = []
        for key in keys:
            ledger = stack.enter_context(Ledger.open(f"sqlite:///{folder}/ledger.db"))
            connection = CustomerIOConnection(key, host=sandbox.url, rate_share=SHARE)
            client = CustomerIOClient(connection, paces=shared_paces(ledger.budgets))
            opened.append(await stack.enter_async_context(client))
        yield opened


async def test_two_tasks_keep_one_rate_over_all_paths(sandbox: SandboxServer, tmp_path: Path) -> None:
    each = int(RATE)
    async with clients(sandbox, tmp_path, CUSTOMERIO_KEY, CUSTOMERIO_KEY) as (one, other):
        started = time.monotonic()
        await asyncio.gather(
            *(one.identify(f"u{number}") for number in range(each)),
            *(other.track(f"u{number}", "seen") for number in range(each)),
        )
        seconds = time.monotonic() - started
    assert seconds >= (2 * each - 2) / RATE - 0.1
    assert sandbox.customerio.stats()["max_requests_in_3_seconds"] <= 3 * RATE + 2


async def test_another_workspace_has_a_rate_of_its_own(sandbox: SandboxServer, tmp_path: Path) -> None:
    each = int(RATE)
    async with clients(sandbox, tmp_path, CUSTOMERIO_KEY, PRIVATE_KEY) as (one, other):
        started = time.monotonic()
        await asyncio.gather(*(client.identify(f"u{number}") for client in (one, other) for number in range(each)))
        one_after_the_other = (2 * each - 2) / RATE
        assert time.monotonic() - started < 0.95 * one_after_the_other


async def test_a_429_to_one_holds_back_the_other(sandbox: SandboxServer, tmp_path: Path) -> None:
    fault = {"path": "/v1/*", "kind": "status", "status": 429, "times": 1, "headers": {"Retry-After": "2"}}
    sandbox.faults([fault])
    async with clients(sandbox, tmp_path, CUSTOMERIO_KEY, CUSTOMERIO_KEY) as (one, other):
        throttled = asyncio.create_task(one.identify("ada"))
        await asyncio.sleep(0.4)
        assert sandbox.stats()["throttled"] == 1
        started = time.monotonic()
        await other.identify("bob")
        assert time.monotonic() - started > 1
        await throttled
