"""What the fields of semantic events may hold: each type carries the check that turns a value into its JSON form.

A check raises InvalidRow with a reason code and what was expected; `Record` adds the name of the field. No check is
stricter than the schema except where the value could not be meant: NaN, a negative length, a naive datetime.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, TypeVar, cast

from reverse_etl.customerio.values import iso_datetime, jsonable
from reverse_etl.errors import InvalidRow
from reverse_etl.mapping import as_integer, as_number, as_text

Check = Callable[[object], object]
Checked = TypeVar("Checked")


def text(value: object) -> str:
    """Return text; numbers are refused, because `1` and `"1"` are different values in a campaign's filter."""
    if not isinstance(value, str):
        raise InvalidRow("not_text", f"expected text, not {_type(value)}")
    return as_text(value)


def identifier(value: object) -> str:
    """Return text that is not blank."""
    if not text(value).strip():
        raise InvalidRow("identifier_missing", "expected text that is not empty")
    return text(value)


def boolean(value: object) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise InvalidRow("not_a_boolean", f"expected True or False, not {_type(value)}")
    return value


def size(value: object) -> int | float:
    """Return a number that is not negative."""
    number = as_number(value)
    if number < 0:
        raise InvalidRow("negative", "expected a number that is not negative")
    return number


def count(value: object) -> int:
    """Return a whole number that is not negative."""
    return int(size(as_integer(value)))


def percent(value: object) -> int:
    """Return a whole number of 0 to 100."""
    if count(value) > 100:
        raise InvalidRow("out_of_range", "expected a whole number of 0 to 100")
    return count(value)


def currency(value: object) -> str:
    """Return a code of three capital letters (ISO 4217); whether such a currency exists is not checked."""
    if not re.fullmatch("[A-Z]{3}", text(value)):
        raise InvalidRow("not_a_currency", "expected a code of three capital letters such as 'EUR'")
    return text(value)


def one_of(*allowed: str) -> Check:
    """Return a check for an enumeration."""

    def check(value: object) -> object:
        if value not in allowed:
            raise InvalidRow("not_allowed", f"expected one of {', '.join(allowed)}")
        return value

    return check


def texts(value: object) -> list[str]:
    """Return a list of texts."""
    return [at(place, text, item) for place, item in enumerate(items(value))]


def items(value: object) -> Sequence[object]:
    """Return a list or tuple; text is refused, because it is a sequence of letters."""
    if not isinstance(value, list | tuple):
        raise InvalidRow("not_a_list", f"expected a list, not {_type(value)}")
    return value


def object_type(value: object) -> int:
    """Return the number of an object type, from 1; Customer.io's own pages also write it as text."""
    number = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value) else as_integer(value)
    if number < 1:
        raise InvalidRow("out_of_range", "expected the number of an object type, 1 or more")
    return number


def json_object(value: object) -> dict[str, object]:
    """Return an object of any content that has a form in JSON."""
    if not isinstance(value, Mapping):
        raise InvalidRow("not_an_object", f"expected a dict, not {_type(value)}")
    return cast("dict[str, object]", jsonable(value))


def at(place: str | int, check: Callable[[object], Checked], value: object) -> Checked:
    """Return the checked value; a refusal names the place."""
    try:
        return check(value)
    except InvalidRow as problem:
        raise InvalidRow(problem.code, f"in {place!r}: {problem.detail}") from None


def _type(value: object) -> str:
    return type(value).__name__


Text = Annotated[str | None, text]
Identifier = Annotated[str, identifier]
Boolean = Annotated[bool | None, boolean]
Number = Annotated[int | float | Decimal | None, as_number]
Size = Annotated[int | float | Decimal | None, size]
Whole = Annotated[int | None, as_integer]
Count = Annotated[int | None, count]
Percent = Annotated[int | None, percent]
Currency = Annotated[str | None, currency]
Moment = Annotated[datetime | None, iso_datetime]
Texts = Annotated[Sequence[str] | None, texts]
ObjectType = Annotated[int | str, object_type]
JsonObject = Annotated[Mapping[str, object] | None, json_object]

AdType = Annotated[Literal["pre-roll", "mid-roll", "post-roll"] | None, one_of("pre-roll", "mid-roll", "post-roll")]
LoadType = Annotated[Literal["dynamic", "linear"] | None, one_of("dynamic", "linear")]
