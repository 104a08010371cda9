"""The mapped profile fields against those the project has.

The first value of a field fixes its type for good, and every later value of another type is refused. Sources: support
articles "Field Data Types" and "Managing User and Event Fields".
"""

from __future__ import annotations

from collections.abc import Mapping

from reverse_etl.checking import Finding, error, ok, warning
from reverse_etl.iterable.config import UserUpdate
from reverse_etl.mapping import Constant, FieldLike, Kind

ANY = frozenset({"string", "long", "double", "boolean", "date", "object", "nested", "geo_location"})

# A DECIMAL without decimals goes out as a whole number, one with decimals never does; the column's kind does not tell.
_OF_KIND: Mapping[Kind, frozenset[str]] = {
    Kind.TEXT: frozenset({"string"}),
    Kind.INTEGER: frozenset({"long"}),
    Kind.BOOLEAN: frozenset({"boolean"}),
    Kind.DATETIME: frozenset({"date"}),
    Kind.JSON: ANY,
}
_OF_COLUMN: Mapping[str, frozenset[str]] = {
    "text": frozenset({"string"}),
    "integer": frozenset({"long"}),
    "number": frozenset({"long", "double"}),
    "boolean": frozenset({"boolean"}),
    "datetime": frozenset({"date"}),
    "date": frozenset({"date"}),
}
_OF_CONSTANT: Mapping[type, frozenset[str]] = {
    bool: frozenset({"boolean"}),
    int: frozenset({"long"}),
    float: frozenset({"double"}),
    str: frozenset({"string"}),
}
# (type in the project, type sent): taken although they are not the same.
_ALSO_GOOD = frozenset({("double", "long"), ("string", "date")})
_PERHAPS_GOOD = frozenset({("date", "string"), ("long", "double")})


def compare_fields(update: UserUpdate, kinds: Mapping[str, str], known: Mapping[str, str]) -> list[Finding]:
    """Return a finding for every mapped field; `kinds` are those of columns, `known` the project's types by name."""
    by_lower: dict[str, list[str]] = {}
    for name in known:
        by_lower.setdefault(name.lower(), []).append(name)
    return [_of_field(field, _types_of(field, kinds), known, by_lower) for field in update.fields]


def _types_of(field: FieldLike, kinds: Mapping[str, str]) -> frozenset[str]:
    if isinstance(field, Constant):
        return _OF_CONSTANT[type(field.value)]
    kind = Kind(field.kind)
    if kind in _OF_KIND:
        return _OF_KIND[kind]
    return _OF_COLUMN.get(kinds[field.column], ANY)


def _of_field(
    field: FieldLike, sent: frozenset[str], known: Mapping[str, str], by_lower: Mapping[str, list[str]]
) -> Finding:
    what = f"field {field.name}"
    there = known.get(field.name)
    if there is None:
        return _of_new_field(field.name, sent, by_lower.get(field.name.lower(), []))
    fitting = {kind for kind in sent if kind == there or (there, kind) in _ALSO_GOOD}
    if sent in (fitting, ANY):
        return ok(what, f"{there} in the project")
    if fitting or any((there, kind) in _PERHAPS_GOOD for kind in sent):
        return warning(what, f"{there} in the project, the mapping sends {_words(sent)}: what does not fit is refused")
    return error(
        what,
        f"{there} in the project, the mapping sends {_words(sent)}: every row with a value would be refused; "
        "choose another kind or another name",
    )


def _of_new_field(name: str, sent: frozenset[str], alike: list[str]) -> Finding:
    made = "" if sent == ANY else f" as {_words(sent)}"
    said = f"not in the project: created{made} by the first value, or silently dropped where it takes no new fields"
    if alike:
        said += f"; the project has {', '.join(sorted(alike))}, and names that differ in case are different fields"
    return warning(f"field {name}", said)


def _words(types: frozenset[str]) -> str:
    return " or ".join(sorted(types))
