"""A query narrowed to the rows of some keys, which a database answers by an index where the query lets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from MySQLdb.constants import FIELD_TYPE

from reverse_etl.errors import SourceError
from reverse_etl.staging.columns import SourceColumn
from reverse_etl.staging.source import Row
from reverse_etl.staging.statement import read_statement

KEYS_PER_STATEMENT = 5_000
"""A query that cannot use an index runs once for so many keys; MySQL plans ranges within 8 MB."""

_INEXACT = {
    FIELD_TYPE.FLOAT: "FLOAT",
    FIELD_TYPE.DOUBLE: "DOUBLE",
    FIELD_TYPE.TIME: "TIME",
    FIELD_TYPE.BIT: "BIT",
    FIELD_TYPE.JSON: "JSON",
    FIELD_TYPE.GEOMETRY: "GEOMETRY",
}
"""Types of which a value that was read need not equal itself when it is given back."""


def narrowed(
    sql: str, parameters: Mapping[str, object], key: Sequence[str], keys: Sequence[Row]
) -> tuple[str, dict[str, object]]:
    """Return the query for the key columns of the rows that have one of these `keys`, and its parameters.

    It gives other rows too: those whose columns have values of different keys, and those that only the collation of a
    column takes for one of them. MariaDB 10.11 misses rows when columns and texts are compared in pairs:
    `(a, b) IN ((1, 'é'))` finds nothing where `b` is in latin1. Raises SourceError for SQL that `stream_query` refuses.
    """
    bound: dict[str, object] = {}
    conditions = []
    for place, (name, values) in enumerate(zip(key, zip(*keys, strict=True), strict=True)):
        of_column = {f"key_{place}_{number}": value for number, value in enumerate(dict.fromkeys(values))}
        conditions.append(f"`{name}` IN ({', '.join(f'%({parameter})s' for parameter in of_column)})")
        bound |= of_column
    columns = ", ".join(f"`{name}`" for name in key)
    query = read_statement(sql, parameters).text
    every = f"SELECT {columns} FROM (\n{query}\n) AS every_row"  # noqa: S608 - names are checked, values bound
    return f"{every} WHERE {' AND '.join(conditions)}", {**parameters, **bound}


def check_exact(columns: Sequence[SourceColumn]) -> None:
    """Raise SourceError for key columns of which a value cannot be found by giving it back."""
    for column in columns:
        if column.type_code in _INEXACT:
            raise SourceError(f"rows cannot be looked up by {column.name!r}, which is a {_INEXACT[column.type_code]}")
