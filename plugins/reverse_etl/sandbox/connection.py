"""The HTTP side: reading a body, sending an answer, cutting a connection."""

from __future__ import annotations

import asyncio
import socket
import struct
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reverse_etl.sandbox.exchange import Answer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TRANSPORT: Final = "sandbox.transport"
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


class ClientGoneError(Exception):
    """The client left before its request was complete."""


class SandboxProtocol(HttpToolsProtocol):
    """HTTP as uvicorn speaks it, with the transport at hand for faults that cut the connection."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {_TRANSPORT: {"transport": self.transport}}


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """Return the whole body, or None when it has more than `limit` bytes; raises ClientGoneError."""
    message = await receive()
    if not message.get("more_body", False):
        _refuse_disconnect(message)
        body: bytes = message["body"]
        return body if len(body) <= limit else None
    parts, size = [message["body"]], len(message["body"])
    while message.get("more_body", False):
        message = await receive()
        _refuse_disconnect(message)
        size += len(message["body"])
        if size <= limit:
            parts.append(message["body"])
    return b"".join(parts) if size <= limit else None


def _refuse_disconnect(message: MutableMapping[str, Any]) -> None:
    if message["type"] == "http.disconnect":
        raise ClientGoneError


async def send_answer(
    send: Send, answer: Answer, request_id_header: bytes | None = None, *, only_half: bool = False
) -> None:
    """Send the answer; with `only_half`, announce all of its body and send half of it."""
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
    ]
    if request_id_header is not None:
        headers.append((request_id_header, str(uuid.uuid4()).encode()))
    if answer.headers:
        replaced = {name for name, _ in answer.headers}
        headers = [header for header in headers if header[0] not in replaced]
        headers.extend(answer.headers)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = answer.body[: len(answer.body) // 2] if only_half else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": only_half})


async def until_client_leaves(receive: Receive) -> None:
    """Wait until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def cut(scope: Scope, receive: Receive) -> None:
    """Cut the connection with a TCP reset, without an answer."""
    transport: asyncio.Transport = scope["extensions"][_TRANSPORT]["transport"]
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is not None and not transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()
    await until_client_leaves(receive)


async def hang_up(scope: Scope, receive: Receive) -> None:
    """Close the connection once what was sent has left."""
    scope["extensions"][_TRANSPORT]["transport"].close()
    await until_client_leaves(receive)
