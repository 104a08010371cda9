"""One running sandbox for the folder, reset before each test, and a plain client that hides nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import orjson
import pytest

from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def outcome(self) -> tuple[int, str]:
        return self.status, self.json["code"]


class Api:
    """The Iterable endpoints of one sandbox; every method returns the Reply as it came."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self._port = sandbox.port

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = SERVER_KEY,
        headers: dict[str, str] | None = None,
        timeout: float = 10,
    ) -> Reply:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=timeout)
        content = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        sent = {} if key is None else {"Api-Key": key}
        try:
            connection.request(method, path, content, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Reply:
        return self.send("GET", path, **options)

    def update(self, **body: object) -> Reply:
        return self.send("POST", "/api/users/update", body)

    def track(self, **body: object) -> Reply:
        return self.send("POST", "/api/events/track", body)

    def bulk_update(self, *users: object, **top: object) -> Reply:
        return self.send("POST", "/api/users/bulkUpdate", {"users": users, **top})

    def track_bulk(self, *events: object) -> Reply:
        return self.send("POST", "/api/events/trackBulk", {"events": events})

    def fields_of(self, email: str) -> dict[str, Any]:
        """The profile fields of a user, without the managed ones."""
        fields: dict[str, Any] = self.get(f"/api/users/{email}").json["user"]["dataFields"]
        managed = ("email", "userId", "signupDate", "signupSource", "profileUpdatedAt")
        return {name: value for name, value in fields.items() if name not in managed}


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(limits="off") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: SandboxServer) -> SandboxServer:
    """The sandbox without state; a request that an earlier test gave up on is over, and counted, before the reset."""
    end = time.monotonic() + 10
    while running_sandbox.stats()["in_flight"]:
        assert time.monotonic() < end, "a request of an earlier test is still in flight"
    running_sandbox.reset()
    return running_sandbox


@pytest.fixture
def api(sandbox: SandboxServer) -> Api:
    return Api(sandbox)


@pytest.fixture
def api_of() -> type[Api]:
    return Api
