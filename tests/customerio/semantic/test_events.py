"""Every semantic event is there under its exact name, its values go to their place, bad ones are refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reverse_etl.customerio.events import SemanticEvent
from reverse_etl.customerio.semantic import FAMILIES, ecommerce, events, messaging, mobile, people, video
from reverse_etl.customerio.semantic.record import Event, places
from reverse_etl.errors import InvalidRow
from tests.contracts.specs import spec

COUNTS = {people: 7, ecommerce: 28, video: 17, mobile: 7, messaging: 13}
EVERY = [kind for family in FAMILIES for kind in events(family)]
# Schemas of 2025 whose names are not the event's name in snake case.
COMPONENTS = {"Email": "email_event", "Application": "app"}
COMPONENT_OF = {
    "Device Created or Updated": "create_update_device",
    "Device Deleted": "delete_device",
    "User Deleted": "delete_person",
    "User Suppressed": "suppress_person",
    "User Unsuppressed": "unsuppress_person",
    "Object Deleted": "group_deleted",
}

# The names as they are to stay: a changed letter makes another event.
NAMES = """
Application Backgrounded
Application Crashed
Application Foregrounded
Application Installed
Application Opened
Application Uninstalled
Application Updated
Cart Shared
Cart Viewed
Checkout Started
Checkout Step Completed
Checkout Step Viewed
Coupon Applied
Coupon Denied
Coupon Entered
Coupon Removed
Device Created or Updated
Device Deleted
Email Bounced
Email Delivered
Email Link Clicked
Email Marked as Spam
Email Opened
Email Unsubscribed
Experiment Viewed
Live Chat Conversation Ended
Live Chat Conversation Started
Live Chat Message Received
Live Chat Message Sent
Object Deleted
Order Cancelled
Order Completed
Order Refunded
Order Updated
Payment Info Entered
Product Added
Product Added to Wishlist
Product Clicked
Product List Filtered
Product List Viewed
Product Removed
Product Removed from Wishlist
Product Reviewed
Product Shared
Product Viewed
Products Searched
Promotion Clicked
Promotion Viewed
Relationship Deleted
Report Content Event
Report Delivery Event
User Deleted
User Suppressed
User Unsuppressed
Video Ad Completed
Video Ad Playing
Video Ad Started
Video Content Completed
Video Content Playing
Video Content Started
Video Playback Buffer Completed
Video Playback Buffer Started
Video Playback Completed
Video Playback Exited
Video Playback Interrupted
Video Playback Paused
Video Playback Resumed
Video Playback Seek Completed
Video Playback Seek Started
Video Playback Started
Video Quality Updated
Wishlist Product Added to Cart
""".strip().splitlines()
NO_EVENT_TAKES_THESE = {
    "product_id",
    "products",
    "product",
    "filters",
    "sorts",
    "promotion",
    "checkout_step",
    "checkout",
    "email_properties",
    "email_basic_context",
    "email_total_context",
    "live_chat_general",
    "content_assets",
    "content_asset",
    "content_general",
    "ad_general",
    "app_event_call_type",
    "app_event_userId",
    "app_event_anonymousId",
}
FAMILY_PREFIXES = (
    "product",
    "promotion_",
    "cart_",
    "checkout",
    "payment_",
    "order_",
    "coupon_",
    "wishlist_",
    "email_",
    "live_chat_",
    "app_",
    "video_",
    "experiment_",
    "report_",
)


def component(name: str) -> str:
    first, *rest = name.split()
    return COMPONENT_OF.get(name) or "_".join([COMPONENTS.get(first, first), *rest]).lower()


def properties_of(schema: Any) -> set[str]:
    found = set(schema.get("properties", {}))
    for way in ("allOf", "oneOf"):
        for part in schema.get(way, []):
            found |= properties_of(part)
    return found


def test_families_have_their_events() -> None:
    assert {family: len(events(family)) for family in FAMILIES} == COUNTS
    assert sorted(kind.event for kind in EVERY) == NAMES


def test_every_event_of_the_schema_has_a_class() -> None:
    schemas = spec("customerio_semantic_events_openapi_2025.json")["components"]["schemas"]
    ours = {component(kind.event) for kind in EVERY}
    theirs = {name for name in schemas if name.startswith(FAMILY_PREFIXES)} - NO_EVENT_TAKES_THESE
    assert theirs - ours - {"app_name", "app_namespace", "app_build", "app_version"} == set()
    assert ours <= set(schemas)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.event)
def test_the_properties_are_those_of_the_schema(kind: type[Event]) -> None:
    schemas = spec("customerio_semantic_events_openapi_2025.json")["components"]["schemas"]
    schema = schemas[component(kind.event)]
    inner = schema["oneOf"][0] if "oneOf" in schema else schema
    ours = {place.path[1] for place in places(kind) if place.path[0] == "properties"}
    has_envelope = {"event", "context"} & set(inner.get("properties", {}))
    expected = properties_of(inner["properties"].get("properties", {})) if has_envelope else properties_of(inner)
    assert ours == expected


Path = tuple[str, ...]

SAMPLES = [
    "x", "5", "EUR", "ios", "pre-roll", "mid-roll", "post-roll", "dynamic", "linear", *messaging.METRICS,
    *messaging.ACTIONS, 3, 100, 1.5, Decimal("1.50"), True, datetime(2026, 1, 13, tzinfo=UTC), ["x"], {"a": 1},
    [{"type": "a", "value": "b"}], [{"product_id": "p", "price": 1.5, "quantity": 2, "position": 1.5}],
]  # fmt: skip
LATER = {("context", "app", "namespace")}
"""Places that only the document of 2026 has."""


def schemas_by_path(schema: Any, path: Path = ()) -> dict[Path, Any]:
    found: dict[Path, Any] = {}
    for way in ("allOf", "oneOf", "anyOf"):
        for part in schema.get(way, []):
            found |= schemas_by_path(part, path)
    for name, inner in schema.get("properties", {}).items():
        found |= {(*path, name): inner} | schemas_by_path(inner, (*path, name))
    return found


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.event)
def test_what_a_field_takes_is_taken_at_its_place_in_the_schema(kind: type[Event]) -> None:
    schemas = spec("customerio_semantic_events_openapi_2025.json")["components"]["schemas"]
    by_path = schemas_by_path(schemas[component(kind.event)])
    is_message = bool({("event",), ("context",), ("properties",)} & set(by_path))
    for place in places(kind):
        if place.path in LATER:
            continue
        check = Draft202012Validator(by_path[place.path if is_message else place.path[1:]])
        taken = [value for value in map(partial(checked, place.check), SAMPLES) if value is not None]
        assert taken, place
        assert [value for value in taken if not check.is_valid(value)] == [], place


def checked(check: Callable[[object], object], value: object) -> object:
    """Return the JSON form of a value that the check takes, else None."""
    try:
        return check(value)
    except InvalidRow:
        return None


def test_a_device_goes_to_the_context() -> None:
    event = people.DeviceCreatedOrUpdated(token="t", type="ios", app_namespace="a.b", extra={"push": True})
    assert isinstance(event, SemanticEvent)
    assert event.context() == {"device": {"token": "t", "type": "ios"}, "app": {"namespace": "a.b"}}
    assert event.properties() == {"push": True}


def test_an_objects_type_is_text_in_a_group_and_a_number_in_a_deletion() -> None:
    group = people.CustomerObject(
        group_id="g", object_type_id=2, relationship_attributes={"role": "owner"}, extra={"name": "Ü"}
    )
    assert group.traits() == {"name": "Ü", "objectTypeId": "2", "relationshipAttributes": {"role": "owner"}}
    assert people.ObjectDeleted(object_id="g", object_type_id="2").properties() == {"objectId": "g", "objectTypeId": 2}


def test_products_are_written_in_their_json_form() -> None:
    order = ecommerce.OrderCompleted(
        total=Decimal("9.50"), products=[ecommerce.Product(sku="s"), {"price": 1, "colour": "red"}]
    )
    assert order.properties() == {"total": 9.5, "products": [{"sku": "s"}, {"price": 1, "colour": "red"}]}
    assert ecommerce.OrderCompleted(products=[]).properties() == {"products": []}
    assert ecommerce.OrderCompleted().properties() == {}


def test_times_are_written_in_utc() -> None:
    at = datetime(2026, 1, 13, 12, tzinfo=UTC)
    assert video.VideoContentStarted(airdate=at).properties() == {"airdate": "2026-01-13T12:00:00.000Z"}


def test_an_event_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ecommerce.CartViewed(cart_id="c").cart_id = "d"  # type: ignore[misc]


own: dict[str, Any] = {}
own["own"] = own
BAD: list[tuple[Callable[..., object], dict[str, Any], str]] = [
    (people.DeviceDeleted, {"token": " "}, "identifier_missing: DeviceDeleted.token"),
    (people.DeviceDeleted, {"token": None}, "not_text: DeviceDeleted.token"),
    (people.DeviceDeleted, {"token": "t", "type": "fax"}, "not_allowed: DeviceDeleted.type.*ios, android, web"),
    (people.ObjectDeleted, {"object_id": "o", "object_type_id": 0}, "out_of_range: .*object_type_id"),
    (ecommerce.OrderCompleted, {"order_id": 1}, "not_text: OrderCompleted.order_id"),
    (ecommerce.OrderCompleted, {"total": float("nan")}, "not_finite: OrderCompleted.total"),
    (ecommerce.OrderCompleted, {"total": True}, "not_a_number"),
    (ecommerce.OrderCompleted, {"currency": "euro"}, "not_a_currency: OrderCompleted.currency"),
    (ecommerce.OrderCompleted, {"products": "p"}, "not_a_list: OrderCompleted.products"),
    (ecommerce.OrderCompleted, {"products": [{}, {"price": -1}]}, "negative: .*products: in 1: Product.price"),
    (ecommerce.OrderCompleted, {"extra": {"total": 1}}, "named_twice: .*'total'.*give it as total="),
    (ecommerce.OrderCompleted, {"extra": {"a": {1}}}, "unsupported_type: OrderCompleted.extra: field 'a'"),
    (ecommerce.OrderCompleted, {"extra": own}, "too_deep"),
    (ecommerce.OrderCompleted, {"extra": {"at": datetime(2026, 1, 13)}}, "naive_datetime"),  # noqa: DTZ001
    (video.VideoContentStarted, {"airdate": datetime(2026, 1, 13)}, "naive_datetime: .*airdate"),  # noqa: DTZ001
    (video.VideoPlaybackPaused, {"sound": 101}, "out_of_range: .*sound"),
    (messaging.EmailOpened, {"email_id": ""}, "identifier_missing: EmailOpened.email_id"),
    (messaging.ReportDeliveryEvent, {"delivery_id": "d", "metric": "seen"}, "not_allowed: .*metric"),
]


@pytest.mark.parametrize(("build", "values", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_values_are_refused_by_name(build: Callable[..., object], values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRow, match=message):
        build(**values)
