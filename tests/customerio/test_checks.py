"""What is said of a mapping for Customer.io before a row is sent."""

from __future__ import annotations

from typing import Any

import pytest

from reverse_etl.checking import Level
from reverse_etl.customerio.checks import LONGEST_ATTRIBUTE_BYTES, LONGEST_EVENT_BYTES, MOST_ATTRIBUTES, check_mapping
from reverse_etl.customerio.config import ACTING_EVENTS, CustomerIODestination, Identify, Track
from reverse_etl.customerio.semantic import events, people
from reverse_etl.errors import ConfigurationError
from reverse_etl.mapping import Constant, Field

KINDS = {"id": "text", "t": "text", "i": "integer", "n": "number", "at": "datetime", "b": "boolean"}


@pytest.mark.parametrize("event", [*ACTING_EVENTS, "user deleted", "User  Suppressed"])
def test_an_event_that_would_act_on_every_row_is_refused_with_the_ways_that_are_meant(event: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Track\.event is .* reverse-etl forget, .* Mirror\(removal="):
        Track(event, timestamp="at")


def test_the_events_that_act_are_those_about_people_devices_and_objects() -> None:
    assert set(ACTING_EVENTS) == {event.event for event in events(people)}


def check(**mapping: Any) -> list[tuple[str, str]]:
    found = check_mapping(CustomerIODestination(user_id="id", **mapping), KINDS)
    return [(finding.level.value, finding.what) for finding in found]


@pytest.mark.parametrize(
    ("field", "is_error"),
    [
        (Field("unsubscribed", "b"), False),
        (Field("unsubscribed", "i", "boolean"), False),
        (Constant("unsubscribed", True), False),
        (Field("unsubscribed", "t"), False),
        (Field("unsubscribed", "n"), True),
        (Field("createdAt", "at"), False),
        (Field("createdAt", "i"), True),
        (Field("createdAt", "t"), False),
        (Field("email", "t"), False),
        (Field("email", "i"), True),
        (Field("cio_subscription_preferences", "t", "json"), False),
        (Field("cio_subscription_preferences", "t"), True),
        (Field("cio_subscription_preferences.topics.topic_1", "i", "boolean"), False),
        (Field("cio_subscription_preferences.topics.topic_1", "i"), True),
        (Field("cio_subscription_preferences.channels", "t", "json"), False),
        (Field("cio_subscription_preferences.channels", "t"), True),
        (Field("cio_subscription_preferences.colour", "t"), False),
        (Field("email.verified", "i"), False),
        (Field("plan", "n"), False),
    ],
)
def test_a_reserved_trait_takes_what_customer_io_reads(field: Field | Constant, is_error: bool) -> None:
    expected = [("error", f"trait {field.name}")] if is_error else [("ok", "fields")]
    assert check(identify=Identify((field,))) == expected


def test_a_property_of_an_event_has_no_reserved_name() -> None:
    assert check(track=Track("seen", timestamp="at", fields=(Field("email", "i"),))) == [("ok", "fields")]


def test_long_names_are_warned_of() -> None:
    long = "\u00e9" * (LONGEST_ATTRIBUTE_BYTES // 2 + 1)
    found = check(
        identify=Identify((Field(long, "t"),)),
        track=Track("e" * (LONGEST_EVENT_BYTES + 1), timestamp="at", fields=(Field(long, "t"),)),
    )
    assert found == [
        ("warning", f"trait {long[:20]}..."),
        ("warning", f"property {long[:20]}..."),
        ("warning", "event"),
    ]


@pytest.mark.parametrize(("count", "level"), [(MOST_ATTRIBUTES, Level.OK), (MOST_ATTRIBUTES + 1, Level.WARNING)])
def test_more_attributes_than_are_kept_are_warned_of(count: int, level: Level) -> None:
    [(found, _)] = check(identify=Identify(tuple(Field(f"f{number}", "t") for number in range(count))))
    assert found == level.value
