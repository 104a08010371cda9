"""Our client against the sandbox: every message it can send is taken in strict mode and takes effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from reverse_etl.customerio import messages
from reverse_etl.customerio.notebook import CustomerIO
from reverse_etl.customerio.semantic.people import (
    DeviceCreatedOrUpdated,
    DeviceDeleted,
    ObjectDeleted,
    RelationshipDeleted,
    UserDeleted,
    UserSuppressed,
    UserUnsuppressed,
)
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.errors import AuthenticationRefused, CallRejected, InvalidRow
from reverse_etl.sandbox.testing import CUSTOMERIO_EU_KEY, CUSTOMERIO_KEY, CUSTOMERIO_PRIVATE_KEY

NOON = datetime(2026, 1, 13, 12, tzinfo=UTC)


@pytest.fixture(params=[CUSTOMERIO_KEY, CUSTOMERIO_PRIVATE_KEY])
def client(sandbox: Any, request: pytest.FixtureRequest) -> Iterator[CustomerIO]:
    with CustomerIO(request.param, host=sandbox.url) as customerio:
        yield customerio


@pytest.mark.parametrize("key", ["no-such-key", CUSTOMERIO_EU_KEY])
def test_a_wrong_key_is_refused(sandbox: Any, key: str) -> None:
    with CustomerIO(key, host=sandbox.url) as customerio, pytest.raises(AuthenticationRefused):
        customerio.identify("u1")
    assert sandbox.customerio.people() == []


@pytest.mark.parametrize("shape", ["meta_errors", "meta_error", "errors", "code", "text"])
def test_a_refused_message_costs_only_itself_whatever_the_shape_of_the_error(
    sandbox: Any, client: CustomerIO, shape: str
) -> None:
    sandbox.settings(customerio={"error_shape": shape})
    batch = [messages.track(f"u{number}", "e", message_id=f"m{number}") for number in range(20)]
    without_person = orjson.dumps({"type": "track", "event": "e", "messageId": "m7"})
    batch[7] = replace(batch[7], body=without_person)
    verdicts = client.batch(batch)
    assert [type(verdict) for verdict in verdicts] == [*[Receipt] * 7, CallRejected, *[Receipt] * 12]
    assert len(sandbox.customerio.events()) == 19
    assert sandbox.customerio.dropped() == []


def test_lost_replies_and_errors_on_the_way_neither_lose_nor_double(sandbox: Any, client: CustomerIO) -> None:
    sandbox.faults(
        [
            {"kind": "half", "times": 1, "path": "/v1/batch"},
            {"kind": "status", "status": 503, "times": 1, "path": "/v1/batch", "headers": {"Retry-After": "0"}},
        ]
    )
    verdicts = client.batch([messages.track("u1", "e", message_id=f"m{number}") for number in range(20)])
    assert [type(verdict) for verdict in verdicts] == [Receipt] * 20
    stats = sandbox.customerio.stats()
    assert (stats["events"], stats["duplicates"]) == (20, 10)


def test_a_message_that_our_check_refuses_is_not_sent(sandbox: Any, client: CustomerIO) -> None:
    with pytest.raises(InvalidRow):
        client.track("u1", "e", {"fill": "x" * 32_000})
    assert sandbox.stats()["requests_total"] == 0


def test_every_type_of_message_takes_effect(sandbox: Any, client: CustomerIO) -> None:
    client.identify("u1", {"email": "ann@acme.com", "plan": "pro"}, anonymous_id="a1", timestamp=NOON)
    client.track("u1", "page_view", {"page": "pricing"}, timestamp=NOON)
    client.page("u1", "Pricing", {"url": "https://acme.com/pricing"}, category="web")
    client.screen("u1", "Home")
    client.group("acme", "u1", {"name": "Acme"})
    client.track("a2", "e")
    client.alias("u1", "a2")
    state = sandbox.customerio
    assert [(person["id"], person["email"]) for person in state.people()] == [("u1", "ann@acme.com")]
    assert [event["type"] for event in state.events()] == ["track", "page", "screen", "track"]
    assert state.count("relationships", id="u1", objectId="acme") == 1
    assert state.dropped() == []


def test_the_semantic_events_act(sandbox: Any, client: CustomerIO) -> None:
    state = sandbox.customerio
    client.track("u1", DeviceCreatedOrUpdated(token="t1", type="ios"))
    client.group("acme", "u1")
    assert (state.count("devices"), state.count("relationships")) == (1, 1)
    client.track("u1", DeviceDeleted(token="t1"))
    client.track("u1", RelationshipDeleted(object_id="acme"))
    assert (state.count("devices"), state.count("relationships"), state.count("objects")) == (0, 0, 1)
    client.track(None, ObjectDeleted(object_id="acme"), anonymous_id="any")
    client.track("u1", UserDeleted())
    assert (state.count("objects"), state.people()) == (0, [])
    client.track("u1", UserSuppressed())
    client.identify("u1")
    assert (state.people(), state.count("suppressed"), state.count("dropped", reason="suppressed")) == ([], 1, 1)
    client.track("u1", UserUnsuppressed())
    assert state.count("suppressed") == 0
