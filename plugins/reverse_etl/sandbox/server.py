"""The server: lets faults, the API and the latency have their turn at each request, and sends the answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI

from reverse_etl.sandbox.admin import create_admin
from reverse_etl.sandbox.connection import (
    ClientGoneError,
    Receive,
    Scope,
    Send,
    cut,
    hang_up,
    read_body,
    send_answer,
    until_client_leaves,
)
from reverse_etl.sandbox.core import Sandbox
from reverse_etl.sandbox.exchange import Answer, Api, Named, Request, html_answer
from reverse_etl.sandbox.faults import FaultRule

log = logging.getLogger("reverse_etl.sandbox")

UNKNOWN_PATH: Final = "unknown path"
_SHORT_PAUSE: Final = 0.5


@dataclass(slots=True)
class _Call:
    """One request on its way: `endpoint` is None for an unknown path, `people` whom it is about.

    `rows` are those of a bulk request, as they are in its payload.
    """

    api: Api[Any]
    endpoint: Named | None
    request: Request
    people: tuple[str, ...]
    rows: list[Any]
    scope: Scope
    receive: Receive
    send: Send

    @property
    def name(self) -> str:
        return UNKNOWN_PATH if self.endpoint is None else self.endpoint.name


class SandboxApp:
    """The ASGI application: API paths go the short way, `/sandbox` to the admin application, the rest is unknown."""

    def __init__(self, sandbox: Sandbox, admin_token: str | None = None) -> None:
        self._sandbox = sandbox
        self._admin: FastAPI = create_admin(sandbox, admin_token)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End all delays and hanging requests."""
        self._stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path: str = scope["path"]
        for api in self._sandbox.apis:
            if path.startswith(api.prefix):
                with contextlib.suppress(ClientGoneError):
                    await self._api(api, scope, receive, send)
                return
        if path.startswith("/sandbox/"):
            await self._admin(scope, receive, send)
        else:
            await send_answer(send, _page_not_found())

    async def _api(self, api: Api[Any], scope: Scope, receive: Receive, send: Send) -> None:
        stats, limit = self._sandbox.stats, self._sandbox.settings.max_body_bytes
        body = await read_body(receive, limit)
        if body is not None:
            body = api.unpacked(scope["headers"], body, limit)
        route = api.resolve(scope["method"], scope["raw_path"].decode("latin-1"))
        endpoint, argument = route if route is not None else (None, "")
        request = Request(scope, argument, body)
        rows = api.rows(endpoint, request)
        call = _Call(api, endpoint, request, api.people(request, rows), rows, scope, receive, send)
        verdict = "failed"
        stats.begin(call.name, call.people, len(rows))
        try:
            verdict = await self._exchange(call)
        finally:
            stats.end(call.name, call.people, verdict)

    async def _exchange(self, call: _Call) -> str:
        """Answer the call, or not; return what became of it for the counts."""
        faults = self._sandbox.faults
        rule = faults.choose(call.request.path, call.people, len(call.rows)) if faults else None
        if rule is not None:
            return await self._play(rule, call)
        return await self._send_later(call, self._answer(call))

    def _answer(self, call: _Call) -> Answer:
        if call.endpoint is None:
            return call.api.unknown(call.request.method, call.request.path)
        try:
            return call.api.answer(call.endpoint, call.request)
        except Exception as error:
            # The text of an unforeseen error may hold personal data: its type and place must do.
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error(  # noqa: TRY400 - exception() would log that text
                "%s failed: %s at %s line %s", call.name, type(error).__name__, place.filename, place.lineno
            )
            return call.api.broken()

    async def _send_later(self, call: _Call, answer: Answer, *, only_half: bool = False) -> str:
        """Send the answer after the latency."""
        latency = self._sandbox.settings.latency_ms
        if latency:
            await self._pause(latency / 1000)
        await send_answer(call.send, answer, call.api.request_id_header, only_half=only_half)
        return str(answer.status)

    async def _play(self, rule: FaultRule, call: _Call) -> str:
        """Let a fault rule have its way with the call."""
        if rule.delay_seconds and rule.kind != "hang":
            await self._pause(rule.delay_seconds)
        if rule.kind == "refuse_rows":
            call.request.row_refusal = rule
        if rule.kind in ("delay", "refuse_rows"):
            return await self._send_later(call, self._answer(call))
        if rule.kind == "half":
            del call.rows[len(call.rows) // 2 :]
        answer = self._answer(call) if rule.applies_the_change else None
        if rule.kind in ("status", "html", "garbage") or (rule.kind == "half" and rule.status is not None):
            sent = await self._send_later(call, rule.answer(call.api.injected))
            return "garbage" if rule.kind == "garbage" else sent
        return await self._leave_unanswered(rule, call, answer)

    async def _leave_unanswered(self, rule: FaultRule, call: _Call, answer: Answer | None) -> str:
        """Let the client wait, or cut the connection before or amid the answer."""
        if rule.kind == "truncated" and answer is not None:
            await self._send_later(call, answer, only_half=True)
            await hang_up(call.scope, call.receive)
            return rule.kind
        if rule.kind == "hang":
            await self._hang(call, rule.delay_seconds)
        await cut(call.scope, call.receive)
        return rule.kind

    async def _hang(self, call: _Call, seconds: float | None) -> None:
        """Wait until the client leaves, the time is over, or the server stops."""
        ends = [
            asyncio.ensure_future(until_client_leaves(call.receive)),
            asyncio.ensure_future(self._stopping.wait()),
        ]
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        """Wait; a long wait ends when the server stops."""
        if seconds <= _SHORT_PAUSE:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def _page_not_found() -> Answer:
    return html_answer(404, "Page not found")
