from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.live.accounts import CustomerIO, Iterable


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/live/" in str(item.path):
            item.add_marker(pytest.mark.live)


@pytest_asyncio.fixture
async def iterable() -> AsyncIterator[Iterable]:
    account = Iterable.given()
    try:
        yield account
    finally:
        await account.clean()


@pytest_asyncio.fixture
async def customerio() -> AsyncIterator[CustomerIO]:
    account = CustomerIO.given()
    try:
        yield account
    finally:
        await account.clean()
