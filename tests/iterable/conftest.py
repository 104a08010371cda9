from __future__ import annotations

from collections.abc import Iterator

import pytest

from reverse_etl.sandbox.testing import SandboxServer


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def sandbox(shared_sandbox: SandboxServer) -> SandboxServer:
    shared_sandbox.reset()
    return shared_sandbox
