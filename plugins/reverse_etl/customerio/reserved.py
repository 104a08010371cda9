"""Fields that Customer.io reads itself, and the type it wants each to have.

Source: Customer.io's OpenAPI document of the Data Pipelines API, read in 2026. `unsubscribed` is not here: the document
wants a boolean, its own text also takes 1 and "true". None is no value and always fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from reverse_etl.errors import InvalidRow

Wanted: TypeAlias = "type | re.Pattern[str] | tuple[str, ...] | list[type] | Mapping[str, Wanted]"
"""A type, text of digits, one of some words, a list of a type, or an object by the names of its fields; `ANY` is every
other name.
"""

ANY = "*"

_CHOICES: Mapping[str, Wanted] = {ANY: bool}
_TEXTS: Mapping[str, Wanted] = {ANY: str}

PREFERENCES = "cio_subscription_preferences"
"""Its entries may also be given one by one, as in `cio_subscription_preferences.topics.topic_1`."""

TRAITS_OF_PERSON: Mapping[str, Wanted] = {
    "email": str,
    "createdAt": str,
    PREFERENCES: {"topics": _CHOICES, "channels": _CHOICES},
}
_DIGITS = re.compile("[0-9]+")
TRAITS_OF_OBJECT: Mapping[str, Wanted] = {
    "objectTypeId": _DIGITS,
    "object_type_id": _DIGITS,
    "relationshipAttributes": {},
}
PROPERTIES_OF_PAGE: Mapping[str, Wanted] = dict.fromkeys(("category", "url", "referrer", "path", "search"), str)
INTEGRATIONS: Mapping[str, Wanted] = _CHOICES
CONTEXT: Mapping[str, Wanted] = {
    "active": bool,
    "ip": str,
    "locale": str,
    "userAgent": str,
    "channel": ("browser", "server", "mobile"),
    "campaign": _TEXTS,
    "page": {**dict.fromkeys(("name", "path", "referrer", "search", "url"), str), "keywords": [str]},
    "app": dict.fromkeys(("name", "version", "build", "namespace"), str),
    "device": {
        **dict.fromkeys(("id", "advertisingId", "manufacturer", "model", "name", "version", "token"), str),
        "type": ("ios", "android", "web"),
    },
    "network": {"bluetooth": bool, "carrier": str, "cellular": bool, "wifi": bool},
    "os": {"name": str, "version": str},
}

_NAMES = {str: "text", bool: "True or False"}


def wanted_for(name: str, wanted: Mapping[str, Wanted]) -> Wanted | None:
    """Return what a name is to hold, None for any other name than those wanted."""
    if name.startswith(f"{PREFERENCES}.") and name not in wanted:
        inside: Wanted | None = wanted
        for step in name.split("."):
            inside = inside.get(step, inside.get(ANY)) if isinstance(inside, Mapping) else None
        return inside
    return wanted.get(name, wanted.get(ANY))


def check_reserved(value: object, wanted: Wanted, field: str) -> None:
    """Raise InvalidRow that names the field when a value in its JSON form is not of the type wanted."""
    if value is None:
        return
    match wanted:
        case type():
            if not isinstance(value, wanted):
                raise _wrong(field, _NAMES[wanted], value)
        case Mapping():
            _check_object(value, wanted, field)
        case list():
            if not isinstance(value, list):
                raise _wrong(field, "a list", value)
            for place, item in enumerate(value):
                check_reserved(item, wanted[0], f"{field}[{place}]")
        case re.Pattern() | tuple():
            _check_text(value, wanted, field)


def _check_text(value: object, wanted: re.Pattern[str] | tuple[str, ...], field: str) -> None:
    if isinstance(wanted, tuple):
        if value not in wanted:
            raise InvalidRow("not_allowed", f"field {field!r}: expected one of {', '.join(wanted)}")
    elif not isinstance(value, str):
        raise _wrong(field, "a number as text", value)
    elif not wanted.fullmatch(value):
        raise InvalidRow("not_allowed", f"field {field!r}: expected a number as text, such as '1'")


def _check_object(value: object, wanted: Mapping[str, Wanted], field: str) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(field, "a dict", value)
    for name, item in value.items():
        of_name = wanted_for(name, wanted)
        if of_name is not None:
            check_reserved(item, of_name, f"{field}.{name}")


def _wrong(field: str, expected: str, value: object) -> InvalidRow:
    return InvalidRow("wrong_type", f"field {field!r}: expected {expected}, not {type(value).__name__}")
