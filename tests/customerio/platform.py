"""A small server that takes what Customer.io takes: enough to test a client against real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.delivery.retry import RetryPolicy

Reply = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]

KEY = "a-classic-key"


@dataclass
class Workspace:
    """Keeps every request; refuses a message whose event or trait says so; `replies` are given out first.

    No answer is given while `hold` is not set.
    """

    url: str = ""
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    refuse: Callable[[dict[str, Any]], bool] = lambda message: False
    refusal: Reply = (400, b'{"meta":{"errors":["a sentence about ada@example.com"]}}')

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Messages of all requests, in the order they came."""
        found = [orjson.loads(body) for body in self.bodies]
        return [message for body in found for message in body.get("batch", [body])]

    @property
    def sizes(self) -> list[int]:
        return [len(body) for body in self.bodies]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(request)
        self.bodies.append(body)
        await self.hold.wait()
        reply: Reply = (200, b'{"success":true}')
        content = orjson.loads(body)
        if self.replies:
            reply = self.replies.pop(0)
        elif any(self.refuse(message) for message in content.get("batch", [content])):
            reply = self.refusal
        status, text, *headers = reply
        return web.Response(status=status, body=text, headers=headers[0] if headers else None)


@asynccontextmanager
async def workspace() -> AsyncIterator[Workspace]:
    kept = Workspace()
    kept.hold.set()
    app = web.Application(client_max_size=10_000_000)
    app.router.add_post("/{path:.*}", kept.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    kept.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield kept
    finally:
        await runner.cleanup()


@dataclass
class Waits:
    """A clock that does not tick: keeps the waits asked for."""

    seconds: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


def client(
    url: str, *, key: str = KEY, tries: int = 3, waits: Waits | None = None, **settings: Any
) -> CustomerIOClient:
    retry = RetryPolicy(tries=tries, sleep=(waits or Waits()).sleep, jitter=0)
    return CustomerIOClient(CustomerIOConnection(key, host=url, **settings), retry=retry)
