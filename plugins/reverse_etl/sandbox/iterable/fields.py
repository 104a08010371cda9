"""Data fields: their types, the dates among them, and the schema that the first value of a field fixes.

Type names and date formats from Iterable's support article "Field Data Types" (208183076).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any, Final, TypedDict

from reverse_etl.sandbox.iterable.answers import refused
from reverse_etl.sandbox.settings import Settings

USER_CATEGORY: Final = "user"

_DATE_LENGTHS: Final = frozenset({10, 19, 24, 26, 29})
_DATE: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?: [+-]\d\d:\d\d)?|T\d\d:\d\d:\d\d\.\d{3}(?:Z|[+-]\d\d:\d\d))?",
    re.ASCII,
)
_SIMPLE: Final[dict[type, str]] = {bool: "boolean", int: "long", float: "double"}
_INCOMING: Final[dict[str, tuple[str, ...]]] = {
    "string": ("string", "keyword"),
    "date": ("date", "string", "keyword"),
}
# A value of the second type is also good for a field of the first: text may look like a date, and 3 is a double.
_ALSO_GOOD: Final = frozenset({("string", "date"), ("double", "long")})


def normalised_date(text: str) -> str | None:
    """Return the date as Iterable gives it back (`yyyy-MM-dd HH:mm:ss +00:00`), or None when it is no date.

    Recognised: `yyyy-MM-dd`, `yyyy-MM-dd HH:mm:ss`, the same with ` +00:00`, and `yyyy-MM-ddTHH:mm:ss.SSS` with `Z` or
    an offset. A space with milliseconds, or `T` without exactly three digits of them, is a string.
    """
    if len(text) not in _DATE_LENGTHS or not _DATE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return _date_text(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def timestamp_text(seconds: float) -> str:
    """Return epoch seconds in the form of Iterable's answers."""
    return _date_text(datetime.fromtimestamp(seconds, UTC))


def _date_text(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(sep=' ', timespec='seconds')} +00:00"


class Schema:
    """The types of the fields of one category: of users, or of the events of one name."""

    __slots__ = ("category", "types")

    def __init__(self, category: str, types: dict[str, str] | None = None) -> None:
        self.category = category
        self.types: dict[str, str] = {} if types is None else types


class _Mismatch(TypedDict):
    incomingTypes: list[str]
    expectedType: str
    category: str
    offendingValue: object
    _type: str


class FieldCheck:
    """One pass over the data fields of one call: types checked, dates normalised, new fields collected.

    `filtered_out` has the names of the fields that were dropped because new ones are not allowed.
    """

    __slots__ = ("_double_is_long", "_errors", "_keep_new", "_new", "_schema", "filtered_out")

    def __init__(self, schema: Schema, settings: Settings, *, create_new: bool | None) -> None:
        self._schema = schema
        self._keep_new = settings.create_new_fields if create_new is None else create_new
        self._double_is_long = settings.double_in_long_field == "accept"
        self._new: dict[str, str] = {}
        self._errors: dict[str, _Mismatch] = {}
        self.filtered_out: list[str] = []

    @property
    def created(self) -> Collection[str]:
        """The names of the fields that this call created."""
        return self._new.keys()

    def run(self, fields: dict[str, Any], project_id: int, limit: int) -> dict[str, Any]:
        """Return the fields to store, where null stays null, and add the new ones to the schema.

        Raises RefusedError, with the schema as it was: RequestFieldsTypesMismatched, UniqueFieldsLimitExceeded.
        """
        kept = dict(self._kept(fields, ""))
        if self._errors:
            raise self._mismatch(project_id)
        if self._new:
            self._admit(project_id, limit)
        return kept

    def _kept(self, fields: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in fields.items():
            if value is None:
                yield name, None
                continue
            kept, stored = self._field(prefix + name, value)
            if kept:
                yield name, stored

    def _field(self, path: str, value: Any) -> tuple[bool, Any]:  # noqa: ANN401 - JSON of any shape
        """Say whether the field is kept, and with which value."""
        if type(value) is list:
            return self._array(path, value)
        date = normalised_date(value) if type(value) is str else None
        kind = "date" if date is not None else _kind(path, value)
        expected = self._schema.types.get(path) or self._new.get(path)
        if expected is None:
            if not self._keep_new:
                self.filtered_out.append(path)
                return False, None
            self._new[path] = expected = kind
        elif expected != kind and not self._also_good(expected, kind):
            self._note_mismatch(path, expected, kind, value)
            return False, None
        if kind == "object":
            return True, dict(self._kept(value, f"{path}."))
        return True, date if expected == "date" else value

    def _array(self, path: str, values: list[Any]) -> tuple[bool, Any]:
        """Check an array by its elements, as a search index does; an empty one has no type of its own."""
        stored = []
        for value in values:
            if value is None:
                continue
            kept, element = self._field(path, value)
            if not kept:
                return False, None
            stored.append(element)
        known = path in self._schema.types or path in self._new
        return known or self._keep_new, stored

    def _also_good(self, expected: str, kind: str) -> bool:
        if (expected, kind) in _ALSO_GOOD:
            return True
        return self._double_is_long and (expected, kind) == ("long", "double")

    def _note_mismatch(self, path: str, expected: str, kind: str, value: object) -> None:
        self._errors[path] = {
            "incomingTypes": list(_INCOMING.get(kind, (kind,))),
            "expectedType": expected,
            "category": self._schema.category,
            "offendingValue": value,
            "_type": "UnexpectedType",
        }

    def _mismatch(self, project_id: int) -> Exception:
        path, error = next(iter(self._errors.items()))
        msg = (
            f"Project {project_id}: The request does not have the same data types as the data previously submitted. "
            f"Field '{path}' already exists for type '{self._schema.category}' and has a data type of "
            f"'{error['expectedType']}' but possible types '{', '.join(error['incomingTypes'])}' in the request."
        )
        return refused(400, "RequestFieldsTypesMismatched", msg, {"validationErrors": dict(self._errors)})

    def _admit(self, project_id: int, limit: int) -> None:
        total = len(self._schema.types) + len(self._new)
        if total > limit:
            msg = f"Project {project_id}: the new fields would bring the number of unique fields above {limit}."
            params: dict[str, object] = {
                "limit": limit,
                "requestedTotal": total,
                "newFields": sorted(self._new),
            }
            raise refused(400, "UniqueFieldsLimitExceeded", msg, params)
        self._schema.types.update(self._new)


def _kind(path: str, value: object) -> str:
    simple = _SIMPLE.get(type(value))
    if simple is not None:
        return simple
    if isinstance(value, str):
        return "string"
    return "geo_location" if path.endswith("_geo_location") and _is_place(value) else "object"


def _is_place(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"lat", "lon"}
        and all(type(number) in (int, float) for number in value.values())
    )


def merged(old: dict[str, Any], new: dict[str, Any], *, merge_nested: bool) -> dict[str, Any]:
    """Return the profile fields after an update.

    Absent fields stay, null deletes, arrays are replaced; objects too, unless `merge_nested` merges their own keys one
    level deep.
    """
    result = dict(old)
    for name, value in new.items():
        if value is None:
            result.pop(name, None)
            continue
        before = result.get(name)
        if merge_nested and type(value) is dict and type(before) is dict:
            value = {**before, **value}  # noqa: PLW2901
        result[name] = without_nulls(value)
    return result


def without_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """Return the value without object keys that are null, at any depth."""
    if type(value) is dict:
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    if type(value) is list:
        return [without_nulls(inner) for inner in value]
    return value
