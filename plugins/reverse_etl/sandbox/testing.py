"""A sandbox for tests: a real server in a thread of this process.

with SandboxServer(limits="off") as sandbox:
    ... send requests to sandbox.url with the key "sandbox-server-key" ...
    assert len(sandbox.users()) == 5
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson

from reverse_etl.sandbox.core import Sandbox
from reverse_etl.sandbox.runner import SandboxRunner, open_socket
from reverse_etl.sandbox.settings import Settings, checked

SERVER_KEY: Final = "sandbox-server-key"
READONLY_KEY: Final = "sandbox-readonly-key"
DISABLED_KEY: Final = "sandbox-disabled-key"
EU_KEY: Final = "sandbox-eu-key"
JWT_KEY: Final = "sandbox-jwt-key"
JWT_SECRET: Final = "sandbox-jwt-secret-0123456789abcdef"  # noqa: S105 - opens nothing but a sandbox

_START_SECONDS: Final = 10


class SandboxServer:
    """A sandbox on a free loopback port, as a context manager; keyword arguments are its settings at the start.

    `state_file` is loaded when it exists, and saved by `POST /sandbox/save` only. Raises ConfigurationError for wrong
    settings or an unusable state file.
    """

    def __init__(self, *, state_file: Path | None = None, **settings: object) -> None:
        self._sandbox = Sandbox(checked(Settings, settings), state_file)
        self._ready = threading.Event()
        self._runner: SandboxRunner | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    def __enter__(self) -> Self:
        listening = open_socket("127.0.0.1", 0)
        self._runner = SandboxRunner(self._sandbox, listening, on_ready=self._ready.set)
        self.port = self._runner.port
        self._thread = threading.Thread(target=self._runner.serve_until_stopped, name="sandbox", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise TimeoutError(f"the sandbox did not start within {_START_SECONDS} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None and self._thread is not None:
            self._runner.should_exit = True
            self._thread.join(_START_SECONDS)

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON of any shape
        """GET a path; see `call`."""
        return self.call("GET", path)

    def put(self, path: str, body: object = None) -> Any:  # noqa: ANN401
        """PUT a JSON body; see `call`."""
        return self.call("PUT", path, body)

    def post(self, path: str, body: object = None) -> Any:  # noqa: ANN401
        """POST a JSON body; see `call`."""
        return self.call("POST", path, body)

    def delete(self, path: str) -> Any:  # noqa: ANN401
        """DELETE a path; see `call`."""
        return self.call("DELETE", path)

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        """Send a request with the default server key; return the JSON of the answer.

        Raises RuntimeError with status and text when the answer is not a 2xx. Lines of JSON become a list.
        """
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Api-Key": SERVER_KEY, "Content-Type": "application/json"}
            content = None if body is None else orjson.dumps(body)
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status // 100 != 2:
            raise RuntimeError(f"the sandbox answered {method} {path} with {answer.status}: {text.decode()}")
        if answer.getheader("Content-Type", "").startswith("application/x-ndjson"):
            return [orjson.loads(line) for line in text.splitlines()]
        return orjson.loads(text)

    def stats(self) -> dict[str, Any]:
        """Return the counts of `GET /sandbox/stats`."""
        stats: dict[str, Any] = self.get("/sandbox/stats")
        return stats

    def users(self) -> list[dict[str, Any]]:
        """Return all users: email, userId, dataFields without managed fields."""
        users: list[dict[str, Any]] = self.get("/sandbox/users")
        return users

    def events(self) -> list[dict[str, Any]]:
        """Return all events as the API shows them."""
        events: list[dict[str, Any]] = self.get("/sandbox/events")
        return events

    def faults(self, rules: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put these fault rules in force instead of the present ones; an empty list clears them."""
        armed: list[dict[str, Any]] = self.put("/sandbox/faults", list(rules))
        return armed

    def settings(self, **changes: object) -> dict[str, Any]:
        """Change settings, if any are given, and return all."""
        if not changes:
            current: dict[str, Any] = self.get("/sandbox/settings")
            return current
        changed: dict[str, Any] = self.put("/sandbox/settings", changes)
        return changed

    def reset(self) -> None:
        """Empty state and counts, clear faults, and take the settings of the start again."""
        self.post("/sandbox/reset")
