from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from reverse_etl.errors import AuthenticationRefused, CallRejected
from tests.live.accounts import CustomerIO, Iterable

_ASKED: set[str] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/live/" in str(item.path):
            item.add_marker(pytest.mark.live)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why tests were skipped, each reason once."""
    reports = [report for report in terminalreporter.getreports("skipped") if "tests/live/" in report.nodeid]
    for reason in sorted({report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)}):
        terminalreporter.write_line(reason)


async def check_key(account: Iterable | CustomerIO, platform: str) -> None:
    """End the session with one sentence when the key is refused; asks once for each platform."""
    if platform in _ASKED:
        return
    _ASKED.add(platform)
    async with account.client() as client:
        try:
            await client.probe()
        except CallRejected:  # the key was taken, the empty batch was not
            return
        except AuthenticationRefused as refused:
            sentence = f"{account.url} refuses the key of {platform}_LIVE_API_KEY ({refused}); nothing was written."
            pytest.exit(sentence, returncode=1)


@pytest_asyncio.fixture
async def iterable() -> AsyncIterator[Iterable]:
    account = Iterable.given()
    await check_key(account, "ITERABLE")
    try:
        yield account
    finally:
        await account.clean()


@pytest_asyncio.fixture
async def customerio() -> AsyncIterator[CustomerIO]:
    account = CustomerIO.given()
    await check_key(account, "CUSTOMERIO")
    try:
        yield account
    finally:
        await account.clean()
