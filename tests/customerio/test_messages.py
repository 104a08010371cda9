from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import orjson
import pendulum
import pytest

from reverse_etl.customerio import messages
from reverse_etl.customerio.limits import LARGEST_MESSAGE_BYTES
from reverse_etl.customerio.messages import Message
from reverse_etl.customerio.semantic import FAMILIES, ecommerce, events, people
from reverse_etl.customerio.semantic.record import Event, places
from reverse_etl.errors import ConfigurationError, InvalidRow

NOON = datetime(2026, 1, 13, 12, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=2)))
NAIVE = datetime(2026, 1, 13, 12)  # noqa: DTZ001


def content(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(message.body)
    return found


def nested(levels: int) -> object:
    value: object = None
    for _ in range(levels):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    ("build", "code", "words"),
    [
        (messages.identify, "identifier_missing", "neither a user nor an anonymous_id"),
        (lambda: messages.identify(""), "id_malformed", "user is empty"),
        (lambda: messages.identify(" ada"), "id_malformed", "blanks around"),
        (lambda: messages.identify(4.5), "id_malformed", "user is a float"),
        (lambda: messages.identify(True), "id_malformed", "user is a bool"),
        (lambda: messages.identify(b"ada"), "id_malformed", "user is a bytes"),
        (lambda: messages.identify("\ud83d"), "not_unicode", "UTF-8"),
        (lambda: messages.identify("ada", anonymous_id=""), "id_malformed", "anonymous_id is empty"),
        (lambda: messages.identify("ada", message_id=""), "id_malformed", "message_id is empty"),
        (lambda: messages.identify("ada", {"a": [1, {"b": math.nan}]}), "not_finite", r"traits.a\[1\].b"),
        (lambda: messages.identify("ada", {"a": -math.inf}), "not_finite", "traits.a"),
        (lambda: messages.identify("ada", {"a": Decimal("NaN")}), "not_finite", "traits.a"),
        (lambda: messages.identify("ada", {"a": {"b": NAIVE}}), "naive_datetime", "traits.a.b"),
        (lambda: messages.identify("ada", {1: "a"}), "not_text", "a key is a int"),
        (lambda: messages.identify("ada", {"a": {"": 1}}), "not_text", "'traits.a': a key is empty"),
        (lambda: messages.identify("ada", {"email": 1}), "wrong_type", "'traits.email': expected text, not int"),
        (lambda: messages.identify("ada", {"createdAt": 17}), "wrong_type", "'traits.createdAt'"),
        (
            lambda: messages.identify("ada", {"cio_subscription_preferences.topics.topic_1": 0}),
            "wrong_type",
            "topics.topic_1': expected True or False, not int",
        ),
        (
            lambda: messages.identify("ada", {"cio_subscription_preferences": {"topics": {"topic_1": "yes"}}}),
            "wrong_type",
            "topics.topic_1': expected True or False",
        ),
        (lambda: messages.group("g", "ada", {"objectTypeId": 2}), "wrong_type", "'traits.objectTypeId'"),
        (lambda: messages.group("g", "ada", {"objectTypeId": "company"}), "not_allowed", "a number as text"),
        (lambda: messages.group("g", "ada", {"relationshipAttributes": []}), "wrong_type", "a dict, not list"),
        (lambda: messages.page("ada", "Home", {"url": 1}), "wrong_type", "'properties.url'"),
        (lambda: messages.track("ada", "seen", context={"channel": "tv"}), "not_allowed", "browser, server, mobile"),
        (
            lambda: messages.track("ada", "seen", context={"page": {"keywords": ["a", 1]}}),
            "wrong_type",
            r"page.keywords\[1\]",
        ),
        (lambda: messages.track("ada", "seen", context={"page": {"keywords": "a"}}), "wrong_type", "a list, not str"),
        (lambda: messages.track("ada", "seen", integrations={"All": "yes"}), "wrong_type", "'integrations.All'"),
        (lambda: messages.identify("ada", {"a": {2, 3}}), "unsupported_type", "set has no form"),
        (lambda: messages.identify("ada", {"a": b"x"}), "unsupported_type", "bytes has no form"),
        (lambda: messages.identify("ada", {"a": 2**64}), "number_too_large", "traits.a"),
        (lambda: messages.identify("ada", {"a": "\ud83d"}), "not_unicode", "traits.a"),
        (lambda: messages.identify("ada", {"a": nested(101)}), "too_deep", "100 levels"),
        (lambda: messages.identify("ada", ["a"]), "not_an_object", "traits is a list"),
        (lambda: messages.identify("ada", {"a": "x" * 32_000}), "too_large", "at most 32000"),
        (lambda: messages.identify("ada", timestamp=NAIVE), "naive_datetime", "timestamp"),
        (lambda: messages.identify("ada", timestamp="today"), "not_a_datetime", "timestamp"),
        (lambda: messages.identify("ada", context={"a": math.nan}), "not_finite", "context.a"),
        (lambda: messages.track("ada", ""), "name_missing", "event is empty"),
        (lambda: messages.track("ada", "  "), "name_missing", "event is empty"),
        (lambda: messages.track("ada", 5), "name_missing", "event is a int"),
        (lambda: messages.track("ada", people.UserDeleted), "name_missing", "event is a type, .* a semantic event"),
        (lambda: messages.track("ada", people.UserDeleted(), [1]), "not_an_object", "properties is a list"),
        (lambda: messages.track("ada", people.UserDeleted(), context=[1]), "not_an_object", "context is a list"),
        (
            lambda: messages.track("ada", people.DeviceDeleted(token="t"), context={"device": "phone"}),
            "not_an_object",
            "context.device is a str",
        ),
        (lambda: messages.track(None, "seen"), "identifier_missing", "neither"),
        (lambda: messages.track(None, people.UserDeleted(), anonymous_id="a"), "identifier_missing", "needs a user"),
        (lambda: messages.group("", "ada"), "id_malformed", "group_id is empty"),
        (lambda: messages.page(None, "home"), "identifier_missing", "neither"),
        (lambda: messages.page("ada", ""), "name_missing", "name is empty"),
        (lambda: messages.alias("ada", ""), "id_malformed", "previous is empty"),
        (lambda: messages.alias(None, "a", anonymous_id="b"), "id_malformed", "user is a NoneType"),
    ],
)
def test_what_customerio_would_drop_is_refused_and_the_field_named(
    build: Callable[[], Message], code: str, words: str
) -> None:
    with pytest.raises(InvalidRow, match=words) as refused:
        build()
    assert refused.value.code == code


@pytest.mark.parametrize(
    "kind", [kind for family in FAMILIES for kind in events(family) if kind.needs_user_id], ids=lambda kind: kind.event
)
def test_an_event_about_a_person_wants_a_user(kind: type[Event]) -> None:
    event = kind(**{place.name: "x" for place in places(kind) if place.required})
    with pytest.raises(InvalidRow, match=f"{kind.event} needs a user") as refused:
        messages.track(None, event, anonymous_id="a")
    assert refused.value.code == "identifier_missing"
    assert content(messages.track("ada", event))["userId"] == "ada"


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: dict[str, object] = {}
    loop["again"] = loop
    with pytest.raises(InvalidRow, match="too_deep"):
        messages.identify("ada", loop)


def test_values_take_their_json_form() -> None:
    values = {
        "moment": NOON,
        "day": date(2026, 1, 13),
        "price": Decimal("12.50"),
        "whole": Decimal(3),
        "uuid": UUID(int=7),
        "nothing": None,
        "deep": {"list": [None, (1, NOON)]},
        "name": "Zo\u00eb \U0001f30d \u6771\u4eac",
        "yes": True,
    }
    assert content(messages.identify("ada", values))["traits"] == {
        "moment": "2026-01-13T10:00:00.123Z",
        "day": "2026-01-13",
        "price": 12.5,
        "whole": 3,
        "uuid": "00000000-0000-0000-0000-000000000007",
        "nothing": None,
        "deep": {"list": [None, [1, "2026-01-13T10:00:00.123Z"]]},
        "name": "Zo\u00eb \U0001f30d \u6771\u4eac",
        "yes": True,
    }


class Plan(str, Enum):  # noqa: UP042 - its str() is Plan.PRO, that of a StrEnum is not
    PRO = "pro"


class Level(int, Enum):
    HIGH = 5


class Number(float):
    """A float of another library, such as numpy's."""


class Moment(datetime):
    """A datetime of another library, such as pandas'."""


def test_values_of_enumerations_and_of_other_libraries_are_written_as_what_they_are() -> None:
    sent = content(messages.identify(Plan.PRO, {"plan": Plan.PRO, "level": Level.HIGH, "score": Number(1.5)}))
    assert (sent["userId"], sent["traits"]) == ("pro", {"plan": "pro", "level": 5, "score": 1.5})
    assert content(messages.identify(Level.HIGH))["userId"] == "5"
    for moment in (pendulum.datetime(2026, 1, 13, 11, tz="Europe/Berlin"), Moment(2026, 1, 13, 10, tzinfo=UTC)):
        assert content(messages.identify("ada", timestamp=moment))["timestamp"] == "2026-01-13T10:00:00.000Z"
    assert content(messages.track("ada", ecommerce.CartViewed(cart_id=Plan.PRO)))["properties"] == {"cart_id": "pro"}


def test_five_thousand_properties_fit_while_their_bytes_do() -> None:
    small = {f"p{number}": 1 for number in range(2_500)}
    assert len(content(messages.track("ada", "seen", small))["properties"]) == 2_500
    with pytest.raises(InvalidRow, match="too_large"):
        messages.track("ada", "seen", {f"p{number}": 1 for number in range(5_000)})


def test_the_size_is_that_of_the_encoded_bytes_and_the_limit_itself_fits() -> None:
    bare = len(messages.identify("ada", {"a": ""}, message_id="m").body)
    room = LARGEST_MESSAGE_BYTES - bare
    assert len(messages.identify("ada", {"a": "x" * room}, message_id="m").body) == LARGEST_MESSAGE_BYTES
    with pytest.raises(InvalidRow, match=f"{LARGEST_MESSAGE_BYTES + 1} bytes"):
        messages.identify("ada", {"a": "x" * (room - 1) + "\u00eb"}, message_id="m")


def test_whole_numbers_become_text_and_event_names_lose_their_blanks() -> None:
    sent = content(messages.track(4711, " seen \n", anonymous_id=7))
    assert (sent["userId"], sent["anonymousId"], sent["event"]) == ("4711", "7", "seen")


def test_names_may_be_of_any_script() -> None:
    sent = content(messages.track("\u6771\u4eac", " d\u00e9tails vus \U0001f30d ", {"pr\u00e9nom": {"\u540d": None}}))
    assert (sent["userId"], sent["event"]) == ("\u6771\u4eac", "d\u00e9tails vus \U0001f30d")
    assert sent["properties"] == {"pr\u00e9nom": {"\u540d": None}}


def test_every_message_has_an_id_of_its_own_unless_one_is_given() -> None:
    first, second = messages.identify("ada"), messages.identify("ada")
    assert first.message_id != second.message_id
    given = messages.identify("ada", message_id="mine")
    assert (given.message_id, content(given)["messageId"]) == ("mine", "mine")


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (messages.identify("ada", {}), {"type": "identify", "userId": "ada", "traits": {}}),
        (
            messages.group("g", "ada", {"objectTypeId": "2"}),
            {"type": "group", "userId": "ada", "groupId": "g", "traits": {"objectTypeId": "2"}},
        ),
        (messages.group(9), {"type": "group", "groupId": "9"}),
        (
            messages.page("ada", "Home", {"url": "/"}, category="docs"),
            {"type": "page", "userId": "ada", "name": "Home", "category": "docs", "properties": {"url": "/"}},
        ),
        (messages.screen(None, anonymous_id="a"), {"type": "screen", "anonymousId": "a"}),
        (messages.alias("new", "old"), {"type": "alias", "userId": "new", "previousId": "old"}),
        (
            messages.track("ada", "seen", timestamp=NOON, context={"ip": "::1"}, integrations={"All": True}),
            {
                "type": "track",
                "userId": "ada",
                "event": "seen",
                "timestamp": "2026-01-13T10:00:00.123Z",
                "context": {"ip": "::1"},
                "integrations": {"All": True},
            },
        ),
        (
            messages.track("ada", ecommerce.OrderCompleted(order_id="o-1"), {"channel": "web"}),
            {
                "type": "track",
                "userId": "ada",
                "event": "Order Completed",
                "properties": {"channel": "web", "order_id": "o-1"},
            },
        ),
        (
            messages.track("ada", people.DeviceDeleted(token="t"), context={"ip": "::1"}),
            {
                "type": "track",
                "userId": "ada",
                "event": "Device Deleted",
                "properties": {},
                "context": {"ip": "::1", "device": {"token": "t"}},
            },
        ),
        (
            messages.track(
                "ada",
                people.DeviceDeleted(token="t"),
                context={"device": {"token": "other", "model": "m"}, "os": {"name": "iOS"}},
            ),
            {
                "type": "track",
                "userId": "ada",
                "event": "Device Deleted",
                "properties": {},
                "context": {"device": {"token": "t", "model": "m"}, "os": {"name": "iOS"}},
            },
        ),
        (
            messages.track("ada", people.UserDeleted(), None, context=None),
            {"type": "track", "userId": "ada", "event": "User Deleted", "properties": {}},
        ),
    ],
)
def test_a_message_holds_its_fields_and_nothing_else(message: Message, fields: dict[str, object]) -> None:
    assert content(message) == {"messageId": message.message_id, **fields}


@pytest.mark.parametrize("misspelt", ["messageId", "timestmap"])
def test_a_misspelt_field_is_refused_instead_of_lost(misspelt: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no {misspelt}, expected anonymous_id, context, .*, timestamp"):
        messages.track("ada", "seen", **{misspelt: "2026"})  # type: ignore[arg-type]


def test_a_message_does_not_show_what_it_holds() -> None:
    assert "ada@example.com" not in repr(messages.identify("ada@example.com"))


def test_derived_ids_are_stable_and_told_apart() -> None:
    assert messages.derive_message_id("sync", 1) == messages.derive_message_id("sync", "1")
    assert messages.derive_message_id("a", "bc") != messages.derive_message_id("ab", "c")
    assert UUID(messages.derive_message_id("sync", 1)).version == 8
