"""A plain client of the Pipelines API that hides nothing."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, CustomerIo


def basic(key: str, password: str = "") -> str:
    return f"Basic {base64.b64encode(f'{key}:{password}'.encode()).decode()}"


class Pipelines:
    """The endpoints below /v1 of one sandbox; every method returns the reply as it came."""

    def __init__(self, api: Any, state: CustomerIo) -> None:
        self._api = api
        self.state = state

    def send(
        self,
        endpoint: str,
        body: object,
        *,
        strict: str | None = "1",
        authorization: str | None = basic(CUSTOMERIO_KEY),
        method: str = "POST",
        headers: dict[str, str] | None = None,
        timeout: float = 10,
    ) -> Any:
        sent = dict(headers or {})
        if strict is not None:
            sent["X-Strict-Mode"] = strict
        if authorization is not None:
            sent["Authorization"] = authorization
        return self._api.send(method, f"/v1/{endpoint}", body, key=None, headers=sent, timeout=timeout)

    def ok(self, endpoint: str, **message: object) -> None:
        """Send one message in strict mode, which must be accepted."""
        reply = self.send(endpoint, message)
        assert (reply.status, reply.json) == (200, {"success": True}), reply.body

    def identify(self, user_id: str, **traits: object) -> None:
        self.ok("identify", userId=user_id, traits=traits)

    def track(self, user_id: str, event: str, **rest: object) -> None:
        self.ok("track", userId=user_id, event=event, **rest)

    def batch(self, *items: object, strict: str | None = "1", **top: object) -> Any:
        return self.send("batch", {"batch": items, **top}, strict=strict)

    def dropped(self) -> list[tuple[str, int | None]]:
        return [(entry["reason"], entry["index"]) for entry in self.state.dropped()]


@pytest.fixture
def cio(sandbox: Any, api: Any) -> Pipelines:
    return Pipelines(api, sandbox.customerio)


@pytest.fixture
def auth() -> Any:
    return basic
