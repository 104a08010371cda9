"""Many rows in one go: insert those that are new, update the others, in each driver's fastest way.

Measured against SQLAlchemy's own inserts, which build a dictionary per row: that alone costs more than SQLite needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Column, Connection, Dialect, LargeBinary, String, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.dml import Insert

ROWS_PER_STATEMENT = 5_000
"""About a megabyte, well below what a server takes in one packet."""


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert the rows that are not there yet."""
    statement: Insert
    match connection.dialect.name:
        case "sqlite":
            statement = sqlite.insert(table).on_conflict_do_nothing()
        case "postgresql":
            statement = postgresql.insert(table).on_conflict_do_nothing()
        case _:
            # IGNORE would also swallow values that do not fit.
            first = table.primary_key.columns[0]
            statement = mysql.insert(table).on_duplicate_key_update({first.name: first})
    connection.execute(statement, list(rows))


class Upsert:
    """An upsert into `table`, prepared once; rows are tuples of the columns that are not `same`, in the table's order.

    `same` are columns of whole numbers that all rows of a call share: they are written once, not once per row.
    `updates` maps a column to its new value in SQL, in which `excluded.x` is the value of the row that came and
    `{table}.x` the one that is there. MySQL assigns one after the other: a column others look at must come last.
    """

    def __init__(self, dialect: Dialect, table: Table, updates: Mapping[str, str], *, same: Sequence[str] = ()) -> None:
        self._kind = dialect.name
        self._same = same
        own = [column for column in table.columns if column.name not in same]
        self._binary = [position for position, column in enumerate(own) if isinstance(column.type, LargeBinary)]
        values, source = _source(dialect, own)
        names = ", ".join([*same, *(column.name for column in own)])
        shared = ", ".join([*(f"{{{name}:d}}" for name in same), *values])
        assignments = ", ".join(f"{column} = {value}" for column, value in updates.items())
        if self._kind in ("sqlite", "postgresql"):
            conflict = f"ON CONFLICT ({', '.join(table.primary_key.columns.keys())}) DO UPDATE SET {assignments}"
        else:
            # MariaDB lacks MySQL's newer alias for the row that came; both know VALUES().
            conflict = "ON DUPLICATE KEY UPDATE " + re.sub(r"\bexcluded\.(\w+)", r"VALUES(\1)", assignments)
        self._sql = f"INSERT INTO {table.name} ({names}) {source.format(shared)} {conflict}"

    def __call__(self, connection: Connection, rows: Sequence[tuple[object, ...]], same: Sequence[int] = ()) -> None:
        """Write the rows, none of which may have the primary key of another; `same` are the shared numbers."""
        sql = self._sql.format(**dict(zip(self._same, same, strict=True)))
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            connection.exec_driver_sql(sql, self._parameters(rows[start : start + ROWS_PER_STATEMENT]))

    def _parameters(self, rows: Sequence[tuple[object, ...]]) -> Any:  # noqa: ANN401 - as the driver wants them
        match self._kind:
            case "sqlite":
                return list(rows)
            case "postgresql":
                return tuple(list(values) for values in zip(*rows, strict=True))
            case _:
                return (orjson.dumps([self._without_bytes(row) for row in rows] if self._binary else rows),)

    def _without_bytes(self, row: tuple[object, ...]) -> list[object]:
        values = list(row)
        for position in self._binary:
            value = values[position]
            values[position] = value.hex() if isinstance(value, bytes) else None
        return values


def _source(dialect: Dialect, columns: Sequence[Column[Any]]) -> tuple[list[str], str]:
    """Return the values of a row in SQL and where they come from, with a place for all values.

    SQLite repeats the statement without a round trip; PostgreSQL takes an array per column; MySQL one JSON text, which
    costs mysqlclient less than half of what it needs to quote the values one by one.
    """
    match dialect.name:
        case "sqlite":
            return ["?" for _ in columns], "VALUES ({})"
        case "postgresql":
            arrays = ", ".join(f"%s::{column.type.compile(dialect)}[]" for column in columns)
            names = [column.name for column in columns]
            return names, "SELECT {} " + f"FROM unnest({arrays}) AS came ({', '.join(names)})"
        case _:
            paths = ", ".join(
                f"{column.name} {_json_type(column)} PATH '$[{position}]' ERROR ON ERROR"
                for position, column in enumerate(columns)
            )
            values = [
                f"UNHEX(came.{column.name})" if isinstance(column.type, LargeBinary) else f"came.{column.name}"
                for column in columns
            ]
            return values, "SELECT {} " + f"FROM JSON_TABLE(%s, '$[*]' COLUMNS ({paths})) AS came"


def _json_type(column: Column[Any]) -> str:
    match column.type:
        case LargeBinary(length=length):
            return f"VARCHAR({2 * (length or 0)}) CHARACTER SET utf8mb4"
        case String(length=length):
            return f"VARCHAR({length}) CHARACTER SET utf8mb4"
        case _:
            # MariaDB clips a number that does not fit its type here, but refuses it for the table's column.
            return "BIGINT"
