"""What the client puts on the wire fits Customer.io's own schema, and what the schema refuses is not sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reverse_etl.customerio import messages
from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.customerio.messages import Message
from reverse_etl.customerio.payloads import RowRenderer
from reverse_etl.customerio.privacy import EVENTS, CustomerIOPrivacy
from reverse_etl.customerio.reserved import CONTEXT, PROPERTIES_OF_PAGE, TRAITS_OF_OBJECT, TRAITS_OF_PERSON
from reverse_etl.customerio.semantic import FAMILIES, events
from reverse_etl.customerio.semantic.people import CustomerObject
from reverse_etl.customerio.semantic.record import Event, places
from reverse_etl.delivery.privacy import Action, PersonId
from reverse_etl.errors import InvalidRow
from reverse_etl.mapping import Field
from tests.contracts.customerio import validator, without_nulls
from tests.customerio.platform import client, workspace

NOON = datetime(2026, 1, 13, 12, tzinfo=UTC)
WEB: dict[str, Any] = {
    "active": True,
    "channel": "browser",
    "ip": "::1",
    "campaign": {"source": "mail", "utm_id": "7"},
    "page": {"path": "/", "keywords": ["a"]},
}
APP: dict[str, Any] = {
    "app": {"version": "1.0"},
    "device": {"type": "ios", "id": "d"},
    "network": {"wifi": True},
    "os": {"name": "iOS"},
    "channel": "mobile",
}
COMMON: dict[str, Any] = {
    "anonymous_id": "a",
    "message_id": "m",
    "timestamp": NOON,
    "integrations": {"All": True, "Mixpanel": False},
}
HOME = CustomerObject(group_id="acme", object_type_id=2, relationship_attributes={"role": "owner"}, extra={"name": "Ü"})
REQUIRED = {"metric": "opened", "action_type": "viewed_content"}
PEOPLE = [PersonId(user_id="4711"), PersonId(email="ada@example.com")]

Send = Callable[[CustomerIOClient], Awaitable[object]]
CALLS: dict[str, tuple[str, Send]] = {
    "identify": ("identify", lambda c: c.identify("ada", {"email": "a@example.com", "plan": None, "since": NOON})),
    "identify, all fields": ("identify", lambda c: c.identify("ada", {}, context=WEB, **COMMON)),
    "identify, a visitor": ("identify", lambda c: c.identify(anonymous_id="a")),
    "track": ("track", lambda c: c.track("ada", "page_view", {"page": "pricing"})),
    "track, all fields": ("track", lambda c: c.track("ada", "page_view", {"n": 1}, context=WEB, **COMMON)),
    "group": ("group", lambda c: c.group(HOME.group_id, "ada", HOME.traits())),
    "group, all fields": ("group", lambda c: c.group("acme", "ada", {}, context=WEB, **COMMON)),
    "group, nobody in it": ("group", lambda c: c.group("acme", None, {"name": "Acme"})),
    "page": ("page", lambda c: c.page("ada", "Home", {"url": "/", "seconds": 3}, category="docs", context=WEB)),
    "screen": ("screen", lambda c: c.screen(None, "Home", {"seconds": 3}, context=APP, **COMMON)),
    "alias": ("alias", lambda c: c.alias("ada", "a")),
    "alias, all fields": ("alias", lambda c: c.alias("ada", "a", context=WEB, **COMMON)),
}


async def sent(send: Send) -> list[tuple[str, Any]]:
    """Return path and body of every request, as they came over the wire."""
    async with workspace() as there:
        async with client(there.url) as opened:
            await send(opened)
        return [(request.path, orjson.loads(body)) for request, body in zip(there.requests, there.bodies, strict=True)]


@pytest.mark.parametrize(("endpoint", "send"), CALLS.values(), ids=CALLS)
async def test_every_call_of_the_client_fits_the_schema_of_its_path(endpoint: str, send: Send) -> None:
    ((path, body),) = await sent(send)
    assert path == f"/v1/{endpoint}"
    validator(endpoint).validate(without_nulls(body))
    validator("batch").validate({"batch": [without_nulls(body)]})


async def test_a_batch_of_all_types_fits_its_schema() -> None:
    every = [
        messages.identify("ada", {"email": "a@example.com"}, context=WEB, **COMMON),
        messages.track("ada", "seen", context=APP),
        messages.group("acme", "ada", HOME.traits()),
        messages.page("ada", "Home", context=WEB),
        messages.screen("ada", "Home", context=APP),
        messages.alias("ada", "a"),
    ]
    ((path, body),) = await sent(lambda opened: opened.batch(every))
    assert (path, len(body["batch"])) == ("/v1/batch", 6)
    validator("batch").validate(body)


async def test_the_test_button_sends_a_batch_of_nothing_that_fits_too() -> None:
    ((_, body),) = await sent(lambda opened: opened.probe())
    validator("batch").validate(body)


@pytest.mark.parametrize("kind", [kind for family in FAMILIES for kind in events(family)], ids=lambda kind: kind.event)
async def test_every_semantic_event_fits_the_schema_as_it_is_sent(kind: type[Event]) -> None:
    event = kind(**{place.name: REQUIRED.get(place.name, "x") for place in places(kind) if place.required})
    user = "ada" if kind.needs_user_id else None
    ((_, body),) = await sent(lambda opened: opened.track(user, event, anonymous_id="a"))
    assert body["event"] == kind.event
    validator("track").validate(body)


@pytest.mark.parametrize("action", EVENTS)
async def test_every_privacy_action_fits_the_schema(action: Action) -> None:
    component = {"User Suppressed": "suppress_person", "User Unsuppressed": "unsuppress_person"}
    bodies = await sent(lambda opened: CustomerIOPrivacy(opened, "account").privacy(action, PEOPLE))
    assert [body["userId"] for _, body in bodies] == ["4711", "ada@example.com"]
    for _, body in bodies:
        validator(component.get(body["event"], "delete_person")).validate(body)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5) | st.just(NOON),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)


def with_names(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of anything under names Customer.io reads and under others."""
    return st.dictionaries(st.sampled_from([*names, "other"]), anything, max_size=3)


nested = st.sampled_from(
    [{name: {inner: wrong}} for name in ("page", "device", "app", "os", "network", "campaign")
     for inner in ("name", "type", "wifi", "keywords") for wrong in ("text", 1, True, ["a"], [1])]
)  # fmt: skip
contexts = with_names(*CONTEXT) | nested
identifiers = st.none() | st.text(max_size=5) | st.integers() | st.floats() | st.booleans()
BUILD: dict[str, Callable[..., Message]] = {
    "identify": lambda user, values, common: messages.identify(user, values, **common),
    "track": lambda user, values, common: messages.track(user, "seen", values, **common),
    "group": lambda user, values, common: messages.group("acme", user, values, **common),
    "page": lambda user, values, common: messages.page(user, "Home", values, **common),
    "screen": lambda user, values, common: messages.screen(user, "Home", values, **common),
    "alias": lambda user, values, common: messages.alias(user, "old", **common),
}
FIELDS = {
    "identify": with_names(*TRAITS_OF_PERSON),
    "group": with_names(*TRAITS_OF_OBJECT),
    "page": with_names(*PROPERTIES_OF_PAGE),
}
commons = st.fixed_dictionaries(
    {},
    optional={
        "anonymous_id": identifiers,
        "message_id": identifiers,
        "timestamp": st.datetimes() | st.just(NOON),
        "context": contexts,
        "integrations": with_names("All"),
    },
)


@pytest.mark.parametrize("kind", BUILD)
def test_what_the_schema_refuses_is_refused_before_sending(kind: str) -> None:
    check = validator(kind)

    # Some generated values are slow to make beside other programs; that says nothing of the messages.
    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(identifiers, FIELDS.get(kind, with_names()), commons)
    @example("ada", {}, {"context": {"page": {"keywords": [1]}}})
    @example("ada", {"email": 1, "objectTypeId": 2, "url": 3}, {})
    def takes(user: Any, values: dict[str, Any], common: dict[str, Any]) -> None:
        try:
            message = BUILD[kind](user, values, common)
        except InvalidRow:
            return
        check.validate(without_nulls(orjson.loads(message.body)))

    takes()


MAPPING = CustomerIODestination(
    user_id="user_id",
    anonymous_id="visitor",
    identify=Identify((Field("value"), Field("email", column="value")), timestamp="at"),
    track=Track("happened", timestamp="at", fields=(Field("value"),)),
)
values = st.none() | st.text() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.datetimes()
rows = st.fixed_dictionaries(
    {
        "id": st.none() | st.integers(0, 2**62),
        "user_id": identifiers,
        "visitor": identifiers,
        "at": st.none() | st.datetimes(timezones=st.just(UTC)) | st.datetimes(),
        "value": values | st.datetimes(timezones=st.just(UTC)),
    }
)


def test_the_messages_of_any_row_fit_the_schema() -> None:
    checks = {"identify": validator("identify"), "track": validator("track")}
    render = RowRenderer("contract", ("id",), MAPPING)

    @given(rows)
    def fits(row: dict[str, Any]) -> None:
        try:
            rendered = render(row)
        except InvalidRow:
            return
        for call in rendered.calls:
            checks[call.kind].validate(without_nulls(orjson.loads(call.body)))

    fits()
