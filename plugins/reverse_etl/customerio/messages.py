"""The messages of the Data Pipelines API, checked and encoded when they are built.

Source of the fields: Customer.io's OpenAPI document of the Data Pipelines API, read in 2026.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypedDict, Unpack

from reverse_etl.customerio.events import SemanticEvent
from reverse_etl.customerio.limits import LARGEST_MESSAGE_BYTES
from reverse_etl.customerio.reserved import (
    CONTEXT,
    INTEGRATIONS,
    PROPERTIES_OF_PAGE,
    TRAITS_OF_OBJECT,
    TRAITS_OF_PERSON,
    Wanted,
    check_reserved,
)
from reverse_etl.customerio.values import iso_datetime, jsonable
from reverse_etl.errors import ConfigurationError, InvalidRow
from reverse_etl.mapping import as_text, json_bytes
from reverse_etl.redaction import join_key

User = str | int | None
Values = Mapping[str, object]


class Type(StrEnum):
    """What a message does."""

    IDENTIFY = "identify"
    TRACK = "track"
    GROUP = "group"
    PAGE = "page"
    SCREEN = "screen"
    ALIAS = "alias"


@dataclass(frozen=True, slots=True)
class Message:
    """One encoded message; made by the functions of this module, which check it."""

    type: Type
    message_id: str
    body: bytes = field(repr=False)


class Common(TypedDict, total=False):
    """What every message may have besides its own fields.

    `message_id` is what Customer.io recognises a repeated message by; a random one is made when none is given.
    `timestamp` is when it happened (aware), the time of arrival when absent.
    """

    anonymous_id: User
    message_id: str
    timestamp: datetime
    context: Values
    integrations: Values


def identify(user: User = None, traits: Values | None = None, **common: Unpack[Common]) -> Message:
    """Create or update a person; with `anonymous_id` as well, what it did before becomes the person's."""
    return _message(Type.IDENTIFY, _person(user, common) | _values("traits", traits, TRAITS_OF_PERSON), common)


def track(
    user: User, event: str | SemanticEvent, properties: Values | None = None, **common: Unpack[Common]
) -> Message:
    """Record an event, by its name or as one of those Customer.io gives a meaning of its own.

    Blanks around the name are taken away, as Customer.io does. Properties and context given beside a semantic event
    are added to its own, which win; so are the fields of objects that both have, such as `context["device"]`.
    """
    if isinstance(event, SemanticEvent) and not isinstance(event, type):
        if event.needs_user_id and user is None:
            raise InvalidRow("identifier_missing", f"{event.event} needs a user, an anonymous_id is not enough")
        properties = _beside("properties", properties, event.properties())
        context = _beside("context", common.get("context"), event.context())
        if context:
            common = {**common, "context": context}
        event = event.event
    fields = {**_person(user, common), "event": _name("event", event)}
    return _message(Type.TRACK, fields | _values("properties", properties), common)


def group(group_id: str | int, user: User = None, traits: Values | None = None, **common: Unpack[Common]) -> Message:
    """Create or update an object and, when a person is given, the relationship to it.

    The object's type goes to `traits["objectTypeId"]` as text, "1" when absent; what the relationship has goes to
    `traits["relationshipAttributes"]`.
    """
    fields: dict[str, object] = {**_optional_person(user, common), "groupId": _identifier("group_id", group_id)}
    return _message(Type.GROUP, fields | _values("traits", traits, TRAITS_OF_OBJECT), common)


def page(
    user: User,
    name: str | None = None,
    properties: Values | None = None,
    *,
    category: str | None = None,
    **common: Unpack[Common],
) -> Message:
    """Record the view of a page."""
    view = _view(name, category, properties, PROPERTIES_OF_PAGE)
    return _message(Type.PAGE, _person(user, common) | view, common)


def screen(
    user: User,
    name: str | None = None,
    properties: Values | None = None,
    *,
    category: str | None = None,
    **common: Unpack[Common],
) -> Message:
    """Record the view of an app's screen."""
    return _message(Type.SCREEN, _person(user, common) | _view(name, category, properties), common)


def alias(user: str | int, previous: str | int, **common: Unpack[Common]) -> Message:
    """Fold the identifier `previous` into the one of `user`, which is kept."""
    fields: dict[str, object] = {
        **_person(user, common),
        "userId": _identifier("user", user),
        "previousId": _identifier("previous", previous),
    }
    return _message(Type.ALIAS, fields, common)


_ID_BEGUN = hashlib.blake2b(digest_size=16, person=b"messageId")
"""A copy costs a third of a new one."""


def derive_message_id(*parts: object) -> str:
    """Return a message id: the same parts give the same id, which has the form of a UUID of one's own (version 8)."""
    return message_id_of(join_key(parts))


def message_id_of(parts: bytes) -> str:
    """Return the message id of parts that `join_key` has joined."""
    hashing = _ID_BEGUN.copy()
    hashing.update(parts)
    digest = hashing.hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:]}"


def encoded(fields: Values) -> bytes:
    """Return a message as JSON bytes; raise InvalidRow when it is larger than Customer.io takes."""
    return checked_size(json_bytes(fields))


def checked_size(body: bytes) -> bytes:
    """Return the body of a message; raise InvalidRow when it is larger than Customer.io takes."""
    if len(body) > LARGEST_MESSAGE_BYTES:
        raise InvalidRow("too_large", f"the message has {len(body)} bytes, at most {LARGEST_MESSAGE_BYTES} are taken")
    return body


def check_identifier(name: str, value: object) -> str:
    """Return an identifier as text: not empty, no blanks around it; a whole number becomes its digits."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRow("id_malformed", f"{name} is a {type(value).__name__}, expected text")
    identifier = value if type(value) is str and value.isascii() else as_text(value)
    stripped = identifier.strip()
    if not stripped:
        raise InvalidRow("id_malformed", f"{name} is empty")
    if identifier != stripped:
        raise InvalidRow("id_malformed", f"{name} has blanks around it")
    return identifier


_identifier = check_identifier
_READ_BY_CUSTOMERIO: tuple[tuple[str, Wanted], ...] = (("context", CONTEXT), ("integrations", INTEGRATIONS))


def _optional_person(user: User, common: Common) -> dict[str, object]:
    person: dict[str, object] = {}
    if user is not None:
        person["userId"] = _identifier("user", user)
    if common.get("anonymous_id") is not None:
        person["anonymousId"] = _identifier("anonymous_id", common["anonymous_id"])
    return person


def _person(user: User, common: Common) -> dict[str, object]:
    person = _optional_person(user, common)
    if not person:
        raise InvalidRow("identifier_missing", "the message has neither a user nor an anonymous_id")
    return person


def _beside(field: str, given: object, own: Values) -> Values:
    if given is None:
        return own
    if not isinstance(given, Mapping):
        raise InvalidRow("not_an_object", f"{field} is a {type(given).__name__}, expected a dict")
    merged = {
        name: _beside(f"{field}.{name}", given.get(name), value) if isinstance(value, Mapping) else value
        for name, value in own.items()
    }
    return {**given, **merged}


def _name(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRow("name_missing", f"{field} is a {type(value).__name__}, expected text or a semantic event")
    name = as_text(value).strip()
    if not name:
        raise InvalidRow("name_missing", f"{field} is empty")
    return name


def _view(
    name: str | None, category: str | None, properties: Values | None, wanted: Wanted | None = None
) -> dict[str, object]:
    fields: dict[str, object] = {}
    if name is not None:
        fields["name"] = _name("name", name)
    if category is not None:
        fields["category"] = _name("category", category)
    return fields | _values("properties", properties, wanted)


def _values(field: str, values: object, wanted: Wanted | None = None) -> dict[str, object]:
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InvalidRow("not_an_object", f"{field} is a {type(values).__name__}, expected a dict")
    found = jsonable(values, field)
    if wanted is not None:
        check_reserved(found, wanted, field)
    return {field: found}


def _message(kind: Type, fields: Values, common: Common) -> Message:
    unknown = sorted(set(common) - Common.__optional_keys__)
    if unknown:
        raise ConfigurationError(
            f"a message has no {', '.join(unknown)}, expected {', '.join(sorted(Common.__optional_keys__))}"
        )
    given = common.get("message_id")
    message_id = str(uuid.uuid4()) if given is None else _identifier("message_id", given)
    whole: dict[str, object] = {"type": kind.value, "messageId": message_id, **fields}
    for name, wanted in _READ_BY_CUSTOMERIO:
        whole |= _values(name, common.get(name), wanted)
    stamp = common.get("timestamp")
    if stamp is not None:
        try:
            whole["timestamp"] = iso_datetime(stamp)
        except InvalidRow as problem:
            raise InvalidRow(problem.code, f"field 'timestamp': {problem.detail}") from None
    return Message(kind, message_id, encoded(whole))
