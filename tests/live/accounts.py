"""The accounts that the environment names, and plain requests to them."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import orjson
import pytest

from reverse_etl.customerio.auth import authorization
from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.connection import IterableConnection

SECONDS_BETWEEN_REQUESTS = 0.4
"""Keeps plain requests below the slowest of the published limits used here, three in a second."""

VISIBLE_WITHIN_SECONDS = 60.0
RATE_SHARE = 0.1


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def variable(platform: str, name: str) -> str:
    return os.environ.get(f"{platform}_LIVE_{name}", "").strip()


def needed_key(platform: str) -> str:
    return variable(platform, "API_KEY") or pytest.skip(
        f"{platform}_LIVE_API_KEY is not set; docs/live-tests.md says what it is for"
    )


def new_person() -> str:
    return f"reverse-etl-live-{uuid4().hex}@example.com"


@dataclass
class Account:
    """One account; the people it `made` are those to clean up."""

    url: str
    headers: Mapping[str, str]
    is_local: bool
    made: list[str] = field(default_factory=list)

    def person(self) -> str:
        self.made.append(new_person())
        return self.made[-1]

    async def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one plain request, as no client of ours would; `body` may be encoded already."""
        await asyncio.sleep(0 if self.is_local else SECONDS_BETWEEN_REQUESTS)
        data = body if isinstance(body, bytes | None) else orjson.dumps(body)
        sent = {**self.headers, "Content-Type": "application/json", **(headers or {})}
        timeout = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, f"{self.url}{path}", data=data, headers=sent) as answer,
        ):
            return Answer(answer.status, await answer.read())

    async def until(self, look: Callable[[], Awaitable[Any]]) -> Any:
        """Return what is seen as soon as it is true; fail when it is not within a minute."""
        wait = 0.05 if self.is_local else 2.0
        for _ in range(int(VISIBLE_WITHIN_SECONDS / wait)):
            seen = await look()
            if seen:
                return seen
            await asyncio.sleep(wait)
        pytest.fail(f"not to be seen within {VISIBLE_WITHIN_SECONDS:.0f} s")


class Iterable(Account):
    connection: IterableConnection

    @classmethod
    def given(cls) -> Iterable:
        connection = IterableConnection(
            api_key=needed_key("ITERABLE"),
            host=variable("ITERABLE", "HOST"),
            region=variable("ITERABLE", "REGION") or "us",
            rate_share=RATE_SHARE,
        )
        account = cls(connection.base_url, {"Api-Key": connection.api_key}, connection.is_loopback)
        account.connection = connection
        return account

    def client(self, **changed: Any) -> IterableClient:
        return IterableClient(self.connection, **changed)

    async def user(self, email: str) -> dict[str, Any]:
        """Return the user's fields; empty while there is none."""
        answer = await self.request("GET", f"/api/users/{quote(email)}")
        found: dict[str, Any] = answer.json.get("user", {}).get("dataFields", {}) if answer.status == 200 else {}
        return found

    async def events(self, email: str) -> list[dict[str, Any]]:
        answer = await self.request("GET", f"/api/events/{quote(email)}")
        found: list[dict[str, Any]] = answer.json.get("events", []) if answer.status == 200 else []
        return found

    async def clean(self) -> None:
        for email in self.made:
            await self.request("DELETE", f"/api/users/{quote(email)}")


class CustomerIO(Account):
    connection: CustomerIOConnection

    @classmethod
    def given(cls) -> CustomerIO:
        connection = CustomerIOConnection(
            needed_key("CUSTOMERIO"),
            host=variable("CUSTOMERIO", "HOST"),
            region=variable("CUSTOMERIO", "REGION"),
            rate_share=RATE_SHARE,
        )
        headers = {"Authorization": authorization(connection.api_key), "X-Strict-Mode": "1"}
        account = cls(connection.base_url, headers, connection.is_loopback)
        account.connection = connection
        return account

    def client(self) -> CustomerIOClient:
        return CustomerIOClient(self.connection)

    async def strict(self, endpoint: str, body: object, **headers: str) -> Answer:
        return await self.request("POST", f"/v1/{endpoint}", body, headers)

    async def clean(self) -> None:
        for user in self.made:
            await self.strict("track", {"type": "track", "userId": user, "event": "User Deleted"})


def basic(key: str) -> str:
    return f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"
