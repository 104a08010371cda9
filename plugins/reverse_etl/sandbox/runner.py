"""Running the server: sockets, signals, and a stop that does not wait for hanging requests."""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import uvicorn

from reverse_etl.errors import ConfigurationError
from reverse_etl.sandbox.connection import SandboxProtocol
from reverse_etl.sandbox.core import Sandbox
from reverse_etl.sandbox.server import SandboxApp

_GRACE_SECONDS: Final = 1
_KEEP_ALIVE_SECONDS: Final = 75


def is_loopback(host: str) -> bool:
    """Whether the address is reachable from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket, port 0 picks a free one; raises ConfigurationError when that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            msg = f"port {port} on {host} is taken by another program; give another --port, or 0 for a free one"
            raise ConfigurationError(msg) from error
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    except OverflowError:
        listening.close()
        raise ConfigurationError(f"port {port} is not a port; allowed: 0 to 65535") from None
    return listening


class SandboxRunner(uvicorn.Server):
    """Serves one sandbox on one listening socket until told to stop; `on_ready` is called when it accepts requests."""

    def __init__(
        self,
        sandbox: Sandbox,
        listening: socket.socket,
        *,
        on_ready: Callable[[], None],
        admin_token: str | None = None,
        log_level: str = "warning",
    ) -> None:
        self._sandbox_app = SandboxApp(sandbox, admin_token)
        app: Any = self._sandbox_app
        super().__init__(
            uvicorn.Config(
                app,
                http=SandboxProtocol,
                loop="uvloop",
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,
                log_level=log_level,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self._listening = listening
        self._on_ready = on_ready

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._listening.getsockname()[1]
        return port

    def serve_until_stopped(self) -> None:
        """Serve; returns after SIGTERM or SIGINT, or when `should_exit` was set."""
        self.run(sockets=[self._listening])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, and say so."""
        await super().startup(sockets=sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let go of waiting requests, then of the connections."""
        self._sandbox_app.stop()
        await super().shutdown(sockets=sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT end the serving; unlike uvicorn's own, not the process, which has a state to save."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.should_exit = True
