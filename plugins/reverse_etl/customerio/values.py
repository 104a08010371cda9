"""Any Python value as one that JSON can hold, or an error that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from reverse_etl.errors import InvalidRow
from reverse_etl.mapping import as_integer, as_number, as_text, aware

DEEPEST = 100
"""Levels of dicts and lists; more is a loop rather than data."""


def iso_datetime(value: object) -> str:
    """Return ISO-8601 in UTC with milliseconds, such as `2026-01-13T08:30:15.000Z`."""
    try:
        return aware(value).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        raise InvalidRow("time_out_of_range", "the date and time is outside the years 1 to 9999 in UTC") from None


def jsonable(value: object, field: str = "", depth: int = 0) -> object:
    """Return `value` with dates as text and decimals as numbers.

    Dates become `YYYY-MM-DD`, UUIDs text, tuples lists. Raise InvalidRow for NaN, infinity, naive datetimes, keys
    that are empty or not text and types without a form in JSON; the message names the field by its path, never its
    value.
    """
    match value:
        case None | bool():
            return value
        case Mapping() | list() | tuple() if depth >= DEEPEST:
            raise InvalidRow("too_deep", f"field {field!r}: more than {DEEPEST} levels of dicts and lists")
        case Mapping():
            inside = f"{field}." if field else ""
            return {_key(key, field): jsonable(item, f"{inside}{key}", depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [jsonable(item, f"{field}[{place}]", depth + 1) for place, item in enumerate(value)]
        case _:
            return _scalar(value, field)


def _key(key: object, field: str) -> str:
    if not isinstance(key, str) or not key:
        found = "empty" if key == "" else f"a {type(key).__name__}"
        raise InvalidRow("not_text", f"field {field!r}: a key is {found}, expected text")
    return as_text(key)


def _scalar(value: object, field: str) -> object:
    try:
        match value:
            case str():
                return as_text(value)
            case int():
                return as_integer(value)
            case float() | Decimal():
                return as_number(value)
            case datetime():
                return iso_datetime(value)
            case date():
                return value.isoformat()
            case UUID():
                return str(value)
    except InvalidRow as problem:
        raise InvalidRow(problem.code, f"field {field!r}: {problem.detail}") from None
    raise InvalidRow(
        "unsupported_type", f"field {field!r}: {type(value).__name__} has no form in JSON; give text or a number"
    )
