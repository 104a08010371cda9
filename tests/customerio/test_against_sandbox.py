"""Every call and every semantic event is taken by the sandbox and has its effect there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from reverse_etl.customerio import messages
from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.customerio.semantic import FAMILIES, events
from reverse_etl.customerio.semantic.record import Event, places
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, SandboxServer

REQUIRED = {"metric": "opened", "action_type": "viewed_content"}

Call = Callable[[CustomerIOClient], Awaitable[object]]
CALLS: dict[str, tuple[Call, dict[str, int]]] = {
    "identify": (lambda c: c.identify("ada", {"plan": "pro"}), {"people": 1}),
    "track": (lambda c: c.track("ada", "seen"), {"people": 1, "events": 1}),
    "group": (lambda c: c.group("acme", "ada"), {"people": 1, "objects": 1, "relationships": 1}),
    "page": (lambda c: c.page("ada", "Home"), {"people": 1, "events": 1}),
    "screen": (lambda c: c.screen("ada", "Home"), {"people": 1, "events": 1}),
    "alias": (lambda c: c.alias("ada", "visitor"), {}),
    "batch": (
        lambda c: c.batch([messages.identify("ada"), messages.track("bob", "seen"), messages.group("acme")]),
        {"people": 2, "events": 1, "objects": 1},
    ),
}


def client(sandbox: SandboxServer) -> CustomerIOClient:
    return CustomerIOClient(CustomerIOConnection(CUSTOMERIO_KEY, host=sandbox.url))


@pytest.mark.parametrize("call", CALLS)
async def test_every_call_has_its_effect(sandbox: SandboxServer, call: str) -> None:
    send, effect = CALLS[call]
    async with client(sandbox) as opened:
        await send(opened)
    stats = sandbox.customerio.stats()
    assert {kind: stats[kind] for kind in ("people", "events", "objects", "relationships") if stats[kind]} == effect
    assert stats["dropped"] == {}
    assert list(sandbox.stats()["requests"]) == [f"POST /v1/{call}"]


@pytest.mark.parametrize("kind", [kind for family in FAMILIES for kind in events(family)], ids=lambda kind: kind.event)
async def test_every_semantic_event_is_taken(sandbox: SandboxServer, kind: type[Event]) -> None:
    event = kind(**{place.name: REQUIRED.get(place.name, "x") for place in places(kind) if place.required})
    async with client(sandbox) as opened:
        await opened.identify("ada")
        await opened.track("ada" if kind.needs_user_id else None, event, anonymous_id="visitor")
    stats = sandbox.customerio.stats()
    assert stats["dropped"] == {}
    assert stats["acted"] | stats["event_names"] == {kind.event: 1}


@pytest.mark.parametrize("event", ["page_view", "order completed", "User deleted"])
async def test_an_event_of_any_other_name_is_a_custom_one(sandbox: SandboxServer, event: str) -> None:
    async with client(sandbox) as opened:
        await opened.track("ada", event)
    stats = sandbox.customerio.stats()
    assert (stats["acted"], stats["event_names"]) == ({}, {event: 1})
