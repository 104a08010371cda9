"""From the columns of a row to the fields of a payload, typed and dated as a destination needs them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import orjson

from reverse_etl.errors import ConfigurationError, InvalidRow

LARGEST_INTEGER = 2**63 - 1

MOST_NEGATIVE_IN_JSON, LARGEST_IN_JSON = -(2**63), 2**64 - 1
"""Whole numbers written in a JSON column stay exact within these; beyond, the decoder makes them floats."""

LONGEST_INTEGER = 20
"""Characters of either."""

MANY_DIGITS = re.compile("[0-9]{19}")
STRING_OR_NUMBER = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][0-9.eE+-]*')


class Kind(StrEnum):
    """The type a field has in the payload; AUTO keeps that of the column."""

    AUTO = "auto"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Field:
    """A payload field `name` filled from `column` (the same name unless given)."""

    name: str
    column: str = ""
    kind: Kind | str = Kind.AUTO

    def __post_init__(self) -> None:
        check_name("Field.name", self.name)
        if not isinstance(self.column, str):
            raise ConfigurationError(f"Field.column of {self.name!r} is {self.column!r}, expected a column name")
        object.__setattr__(self, "column", self.column or self.name)
        object.__setattr__(self, "kind", _kind(self.kind, self.name))


@dataclass(frozen=True, slots=True)
class Constant:
    """A payload field with the same value for every row."""

    name: str
    value: str | int | float | bool

    def __post_init__(self) -> None:
        check_name("Constant.name", self.name)
        if not isinstance(self.value, str | int | float | bool):
            raise ConfigurationError(
                f"Constant {self.name!r}: the value is a {type(self.value).__name__}, "
                "expected text, a number or a boolean"
            )
        try:
            _automatic(datetime.isoformat)(self.value)
        except InvalidRow as problem:
            raise ConfigurationError(f"Constant {self.name!r}: {problem.detail}") from None


FieldLike = Field | Constant


def check_name(what: str, name: str) -> None:
    """Refuse an empty name or one with blanks around it, which an API would store as another name."""
    if not isinstance(name, str) or not name or name != name.strip():
        raise ConfigurationError(f"{what} is {name!r}, expected a name without blanks around it")


def check_fields(where: str, fields: Sequence[FieldLike], reserved: Iterable[str]) -> None:
    """Refuse fields named twice and names the destination keeps for itself."""
    seen: set[str] = set()
    for field in fields:
        if not isinstance(field, Field | Constant):
            raise ConfigurationError(f"{where} holds a {type(field).__name__}, expected Field(...) or Constant(...)")
        if field.name in seen:
            raise ConfigurationError(f"{where} names {field.name!r} twice")
        if field.name in reserved or field.name.split(".")[0] in reserved:
            raise ConfigurationError(f"{where} names {field.name!r}, which the destination keeps for itself")
        seen.add(field.name)


def check_part(where: str, value: object, expected: type) -> None:
    """Refuse a part of a configuration, which may be absent, that is of another class than the one expected."""
    if value is not None and not isinstance(value, expected):
        raise ConfigurationError(f"{where} is a {_type(value)}, expected {expected.__name__}(...)")


def as_tuple(where: str, values: object) -> tuple[object, ...]:
    """Return a list or tuple as a tuple; a single value or None is refused because it is easily meant otherwise."""
    if not isinstance(values, list | tuple):
        raise ConfigurationError(f"{where} is a {_type(values)}, expected a tuple such as (..., ...)")
    return tuple(values)


def columns_of(fields: Iterable[FieldLike]) -> tuple[str, ...]:
    """Return the source columns that the fields read."""
    return tuple(field.column for field in fields if isinstance(field, Field))


_TEXT_AS_IT_IS = frozenset({Kind.AUTO, Kind.TEXT})
"""Kinds that send text as it is; all ASCII is UTF-8."""


class FieldRenderer:
    """Renders fields of a row; `write_datetime` gives aware datetimes the destination's form.

    `keep_nulls` sends NULL as null, otherwise the field is left out.
    """

    def __init__(
        self, fields: Sequence[FieldLike], write_datetime: Callable[[datetime], str], *, keep_nulls: bool
    ) -> None:
        self._constants = {field.name: field.value for field in fields if isinstance(field, Constant)}
        self._fields = [
            (
                field.name,
                field.column,
                field.kind in _TEXT_AS_IT_IS,
                _converter(Kind(field.kind), write_datetime),
            )
            for field in fields
            if isinstance(field, Field)
        ]
        self._keep_nulls = keep_nulls

    def __call__(self, row: Mapping[str, object]) -> dict[str, object]:
        """Return the payload fields; raise InvalidRow that names the field, never its value."""
        payload: dict[str, object] = {}
        for name, column, takes_text, convert in self._fields:
            value = row[column]
            if takes_text and type(value) is str and value.isascii():
                payload[name] = value
                continue
            if value is None:
                if self._keep_nulls:
                    payload[name] = None
                continue
            try:
                payload[name] = convert(value)
            except InvalidRow as problem:
                raise InvalidRow(problem.code, f"field {name!r}: {problem.detail}", name) from None
        payload.update(self._constants)
        return payload


def _kind(kind: Kind | str, name: str) -> Kind:
    try:
        return Kind(kind)
    except ValueError:
        allowed = ", ".join(Kind)
        raise ConfigurationError(f"Field.kind of {name!r} is {kind!r}, expected one of {allowed}") from None


def _converter(kind: Kind, write_datetime: Callable[[datetime], str]) -> Callable[[object], object]:
    match kind:
        case Kind.AUTO:
            return _automatic(write_datetime)
        case Kind.DATETIME:
            return lambda value: write_datetime(aware(value))
        case Kind.TEXT:
            return as_text
        case Kind.INTEGER:
            return as_integer
        case Kind.NUMBER:
            return as_number
        case Kind.BOOLEAN:
            return as_boolean
        case Kind.JSON:
            return as_json


def _automatic(write_datetime: Callable[[datetime], str]) -> Callable[[object], object]:
    """Return what converts a value by its type; the first type that fits counts, so the narrower one comes first."""
    converters: dict[type, Callable[[Any], object]] = {
        bool: bool,
        str: as_text,
        int: as_integer,
        float: as_number,
        Decimal: as_number,
        datetime: lambda value: write_datetime(aware(value)),
        date: date.isoformat,
    }

    def convert(value: object) -> object:
        converter = converters.get(type(value)) or next(
            (of_type for kind, of_type in converters.items() if isinstance(value, kind)), None
        )
        if converter is None:
            raise InvalidRow("unsupported_type", f"{_type(value)} has no form in JSON; cast it in SQL")
        return converter(value)

    return convert


def as_text(value: object) -> str:
    """Return text, or a number written as text; half a surrogate pair is refused because UTF-8 cannot hold it."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidRow("not_text", f"expected text, not {_type(value)}")
    text = value if type(value) is str else _written(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRow("not_unicode", "the text cannot be encoded as UTF-8") from None
    return text


def as_integer(value: object) -> int:
    """Return a whole number that fits 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidRow("not_an_integer", f"expected a whole number, not {_type(value)}")
    if not _finite(value):
        raise InvalidRow("not_an_integer", "the number has a fraction or is not finite")
    if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise InvalidRow("number_too_large", "the whole number does not fit 64 bits")
    if value != int(value):
        raise InvalidRow("not_an_integer", "the number has a fraction or is not finite")
    return int(value)


def as_number(value: object) -> int | float:
    """Return a finite number.

    A DECIMAL without decimals stays whole and one with decimals is always fractional, because a platform fixes the
    type of a field by the first value it sees.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidRow("not_a_number", f"expected a number, not {_type(value)}")
    if not _finite(value):
        raise InvalidRow("not_finite", "NaN and infinity have no form in JSON")
    if isinstance(value, float):
        return float(value)  # of numpy, for instance, whose floats the encoder does not take
    if isinstance(value, Decimal) and value.as_tuple().exponent != 0:
        number = float(value)
        if math.isinf(number):
            raise InvalidRow("number_too_large", "the number is beyond the range of a float")
        return number
    return as_integer(value)


def as_boolean(value: object) -> bool:
    """Return a boolean; MySQL keeps them as TINYINT 0 and 1."""
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise InvalidRow("not_a_boolean", f"expected 0 or 1, not another {_type(value)}")


def as_json(value: object) -> object:
    """Return the value written in a JSON column."""
    text = as_text(value)
    try:
        decoded = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidRow("not_json", "the text is not JSON") from None
    if MANY_DIGITS.search(text) and any(map(_is_too_large, STRING_OR_NUMBER.findall(text))):
        raise InvalidRow("number_too_large", "a whole number does not fit 64 bits")
    return decoded


def json_bytes(payload: object) -> bytes:
    """Return a payload as JSON; one with a field nested deeper than the encoder goes (254) is refused."""
    try:
        return orjson.dumps(payload)
    except orjson.JSONEncodeError:
        raise InvalidRow("not_json", "a field is nested too deep to be written as JSON") from None


def aware(value: object) -> datetime:
    """Return an aware datetime; a naive one is refused because its zone would be a guess."""
    if not isinstance(value, datetime):
        raise InvalidRow("not_a_datetime", f"expected a date and time, not {_type(value)}")
    if value.utcoffset() is None:
        raise InvalidRow("naive_datetime", "the date and time has no time zone")
    return value


def utc_text(moment: datetime, between: str = "T") -> str:
    """Return an aware moment in UTC to the second, such as `2026-01-13T08:30:15`.

    Raises OverflowError outside the years 1 to 9999. orjson writes it four times as fast as isoformat, but not the
    datetimes of other libraries, such as Airflow's logical date.
    """
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    if type(in_utc) is not datetime:
        return in_utc.isoformat(between, "seconds")[:19]
    text = orjson.dumps(in_utc).decode()
    return f"{text[1:11]}{between}{text[12:20]}"


def _written(value: str | int | Decimal) -> str:
    """Return the text of a value; str() of a member of an enumeration may be its name instead."""
    match value:
        case str():
            return str.__str__(value)
        case int():
            return int.__repr__(value)
        case Decimal():
            return format(value, "f")


def _finite(value: float | Decimal) -> bool:
    """Whether a number is finite; math.isfinite fails on a signalling NaN and on integers beyond a float's range."""
    if isinstance(value, Decimal):
        return value.is_finite()
    return isinstance(value, int) or math.isfinite(value)


def _is_too_large(token: str) -> bool:
    """Whether a string or number, as JSON writes it, is a whole number that would lose digits."""
    if not token.removeprefix("-").isdecimal():
        return False
    return len(token) > LONGEST_INTEGER or not MOST_NEGATIVE_IN_JSON <= int(token) <= LARGEST_IN_JSON


def _type(value: object) -> str:
    return type(value).__name__
