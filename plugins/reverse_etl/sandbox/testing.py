"""A sandbox for tests: a real server in a thread of this process.

with SandboxServer(limits="off") as sandbox:
    ... send requests to sandbox.url with the key "sandbox-server-key" ...
    assert len(sandbox.users()) == 5
    ... send messages to sandbox.customerio.url with the key "sandbox-customerio-key" ...
    assert sandbox.customerio.count("people") == 5
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

import orjson

from reverse_etl.sandbox.core import Sandbox
from reverse_etl.sandbox.customerio.settings import CLASSIC_KEY, EU_PRIVATE_KEY, PRIVATE_KEY, PUBLIC_KEY
from reverse_etl.sandbox.runner import SandboxRunner, open_socket
from reverse_etl.sandbox.settings import Settings, checked

SERVER_KEY: Final = "sandbox-server-key"
READONLY_KEY: Final = "sandbox-readonly-key"
DISABLED_KEY: Final = "sandbox-disabled-key"
EU_KEY: Final = "sandbox-eu-key"
JWT_KEY: Final = "sandbox-jwt-key"
JWT_SECRET: Final = "sandbox-jwt-secret-0123456789abcdef"  # noqa: S105 - opens nothing but a sandbox
CUSTOMERIO_KEY: Final = CLASSIC_KEY
CUSTOMERIO_PRIVATE_KEY: Final = PRIVATE_KEY
CUSTOMERIO_PUBLIC_KEY: Final = PUBLIC_KEY
CUSTOMERIO_EU_KEY: Final = EU_PRIVATE_KEY

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

    @property
    def customerio(self) -> CustomerIo:
        """Its Customer.io side."""
        return CustomerIo(self)

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

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
        """Send a request with the default server key, or these headers instead; return the JSON of the answer.

        Raises RuntimeError with status and text when the answer is not a 2xx. Lines of JSON become a list.
        """
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = {"Api-Key": SERVER_KEY} if headers is None else headers
            content = None if body is None else orjson.dumps(body)
            connection.request(method, path, content, {**sent, "Content-Type": "application/json"})
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


class CustomerIo:
    """The Customer.io side of a running sandbox.

    The listings take filters: names of fields with the values they must have, dots leading inside as in
    `**{"traits.plan": "pro"}`.
    """

    def __init__(self, server: SandboxServer) -> None:
        self._server = server

    @property
    def url(self) -> str:
        """What a client is given as its base URL."""
        return f"{self._server.url}/v1"

    def post(self, endpoint: str, body: object, *, strict: bool = True, key: str = CUSTOMERIO_KEY) -> Any:  # noqa: ANN401
        """Send a body to an endpoint such as `identify`; raises RuntimeError when the answer is not a 2xx."""
        headers = {"Authorization": f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"}
        if strict:
            headers["X-Strict-Mode"] = "1"
        return self._server.call("POST", f"/v1/{endpoint}", body, headers)

    def records(self, kind: str, **filters: object) -> list[dict[str, Any]]:
        """Return all of one kind: people, events, objects, relationships, devices, suppressed, dropped."""
        found: list[dict[str, Any]] = self._server.get(f"/sandbox/customerio/{kind}{_query(filters)}")
        return found

    def count(self, kind: str, **filters: object) -> int:
        """Return how many of one kind there are."""
        count: int = self._server.get(f"/sandbox/customerio/{kind}/count{_query(filters)}")["count"]
        return count

    def people(self, **filters: object) -> list[dict[str, Any]]:
        """Return the people: cio_id, id, email, anonymousIds, unsubscribed, traits."""
        return self.records("people", **filters)

    def events(self, **filters: object) -> list[dict[str, Any]]:
        """Return track, page and screen messages as they are kept, with `person`, the cio_id of whose they are."""
        return self.records("events", **filters)

    def dropped(self, **filters: object) -> list[dict[str, Any]]:
        """Return the dropped log: what was answered with 200 and had no effect, with `reason`."""
        return self.records("dropped", **filters)

    def stats(self) -> dict[str, Any]:
        """Return the counts: what is stored, and what became of all messages."""
        stats: dict[str, Any] = self._server.get("/sandbox/customerio/stats")
        return stats


def _query(filters: Mapping[str, object]) -> str:
    if not filters:
        return ""
    texts = {name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in filters.items()}
    return f"?{urlencode(texts)}"
