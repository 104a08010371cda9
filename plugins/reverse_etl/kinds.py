"""Which columns a field can be filled from."""

from __future__ import annotations

from reverse_etl.errors import ConfigurationError
from reverse_etl.mapping import Field, Kind

IDENTIFIER_KINDS = ("text", "integer")
WITHOUT_JSON_FORM = ("binary", "duration")
KINDS_THAT_FIT: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: ("text", "integer", "number"),
    Kind.INTEGER: ("integer", "number", "boolean"),
    Kind.NUMBER: ("integer", "number"),
    Kind.BOOLEAN: ("integer", "boolean"),
    Kind.DATETIME: ("datetime",),
    Kind.JSON: ("text",),
}


def check_field(field: Field, kind: str) -> None:
    """Refuse a column whose type no value of the field could be sent as."""
    if field.kind is not Kind.AUTO:
        check_kind(f"field {field.name!r} ({field.kind})", field.column, kind, KINDS_THAT_FIT[Kind(field.kind)])
    elif kind in WITHOUT_JSON_FORM:
        raise ConfigurationError(
            f"column {field.column} for field {field.name!r} holds {kind}, which has no form in JSON; "
            "cast it in the query"
        )


def check_kind(use: str, column: str, kind: str, fitting: tuple[str, ...]) -> None:
    """Refuse a column of another type than those that fit its use."""
    if kind not in fitting:
        raise ConfigurationError(
            f"column {column} holds {kind}, but {use} needs {' or '.join(fitting)}; cast it in the query"
        )
