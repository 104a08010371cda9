from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from reverse_etl.sandbox.testing import SandboxServer
from tests.customerio.platform import Workspace, workspace


@pytest_asyncio.fixture
async def there() -> AsyncIterator[Workspace]:
    async with workspace() as started:
        yield started


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxServer]:
    with SandboxServer() as started:
        yield started


@pytest.fixture
def sandbox(running: SandboxServer) -> SandboxServer:
    running.reset()
    return running
