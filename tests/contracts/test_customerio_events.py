"""Every semantic event, put into a track message, fits Customer.io's own schema of 2026."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reverse_etl.customerio.semantic import FAMILIES, events
from reverse_etl.customerio.semantic.record import Event, places
from reverse_etl.errors import InvalidRow
from tests.contracts.customerio import validator

EVERY = [kind for family in FAMILIES for kind in events(family)]
COMPONENT_OF = {
    "User Deleted": "delete_person",
    "User Suppressed": "suppress_person",
    "User Unsuppressed": "unsuppress_person",
    "Device Created or Updated": "create_update_device",
    "Device Deleted": "delete_device",
    "Object Deleted": "group_deleted",
    "Relationship Deleted": "relationship_deleted",
    "Report Delivery Event": "report_delivery_event",
    "Report Content Event": "report_content_event",
}
REQUIRED = {"metric": "opened", "action_type": "viewed_content"}


def build(kind: type[Event], **values: Any) -> dict[str, Any]:
    required = {place.name: REQUIRED.get(place.name, "x") for place in places(kind) if place.required}
    event = kind(**{**required, **values})
    person = {"userId": "u"} if event.needs_user_id else {"anonymousId": "a"}
    return {
        "type": "track",
        "event": event.event,
        **person,
        "properties": event.properties(),
        "context": event.context(),
    }


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.event)
def test_every_event_fits_the_schema_of_track_and_its_own(kind: type[Event]) -> None:
    message = build(kind)
    validator("track").validate(message)
    validator("batch").validate({"batch": [message]})
    if kind.event in COMPONENT_OF:
        validator(COMPONENT_OF[kind.event]).validate(message)


values = st.none() | st.booleans() | st.integers(-5, 200) | st.floats() | st.text(max_size=5) | st.just("ios")


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind.event in COMPONENT_OF], ids=lambda kind: kind.event)
def test_what_an_event_takes_the_schema_takes(kind: type[Event]) -> None:
    check = validator(COMPONENT_OF[kind.event])
    names = [place.name for place in places(kind)]

    # Some generated values are slow to make beside other programs; that says nothing of the events.
    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(st.dictionaries(st.sampled_from(names), values) if names else st.just({}))
    def takes(given_values: dict[str, Any]) -> None:
        try:
            message = build(kind, **given_values)
        except InvalidRow:
            return
        check.validate(message)

    takes()
