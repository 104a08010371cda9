from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.customerio.platform import Workspace, workspace


@pytest_asyncio.fixture
async def there() -> AsyncIterator[Workspace]:
    async with workspace() as started:
        yield started
