"""Many rows in one go: insert those that are new, update the others, in one statement for thousands of them.

SQLAlchemy's own inserts build a dictionary per row: that alone costs more than SQLite needs. SQLite's `executemany`
takes Python's interpreter lock back after every row: beside a thread busy with Python it writes 400 rows/s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Column, Connection, Dialect, String, Table
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


def or_update(dialect: Dialect, table: Table, updates: Mapping[str, str]) -> str:
    """Return the end of an INSERT that updates the rows that are there already.

    `updates` maps a column to its new value in SQL, in which `excluded.x` is the value of the row that came and
    `{table}.x` the one that is there. MySQL assigns one after the other: a column others look at must come last.
    """
    assignments = ", ".join(f"{column} = {value}" for column, value in updates.items())
    if dialect.name in ("sqlite", "postgresql"):
        return f"ON CONFLICT ({', '.join(table.primary_key.columns.keys())}) DO UPDATE SET {assignments}"
    # MariaDB lacks MySQL's newer alias for the row that came; both know VALUES().
    return "ON DUPLICATE KEY UPDATE " + re.sub(r"\bexcluded\.(\w+)", r"VALUES(\1)", assignments)


class Upsert:
    """An upsert into `table`, prepared once; rows are tuples of the columns that are not `same`, in the table's order.

    `same` are columns whose value all rows of a call share: they are bound once, not once per row. `updates` are those
    of `or_update`.
    """

    def __init__(self, dialect: Dialect, table: Table, updates: Mapping[str, str], *, same: Sequence[str] = ()) -> None:
        self._kind = dialect.name
        own = [column for column in table.columns if column.name not in same]
        values, source = _source(dialect, own)
        names = ", ".join([*same, *(column.name for column in own)])
        shared = ", ".join([*(_place(dialect, table.c[name]) for name in same), *values])
        self._sql = f"INSERT INTO {table.name} ({names}) SELECT {shared} {source} {or_update(dialect, table, updates)}"

    def __call__(self, connection: Connection, rows: Sequence[tuple[object, ...]], same: Sequence[object] = ()) -> None:
        """Write the rows, none of which may have the primary key of another; `same` are the shared values."""
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            parameters = self._parameters(rows[start : start + ROWS_PER_STATEMENT])
            connection.exec_driver_sql(self._sql, (*same, *parameters))

    def _parameters(self, rows: Sequence[tuple[object, ...]]) -> tuple[object, ...]:
        match self._kind:
            case "sqlite":
                return (orjson.dumps(rows).decode(),)
            case "postgresql":
                return tuple(list(values) for values in zip(*rows, strict=True))
            case _:
                return (orjson.dumps(rows),)


def _place(dialect: Dialect, column: Column[Any]) -> str:
    """Return where a shared value is bound; PostgreSQL has to be told its type."""
    match dialect.name:
        case "sqlite":
            return "?"
        case "postgresql":
            return f"%s::{column.type.compile(dialect)}"
        case _:
            return "%s"


def _source(dialect: Dialect, columns: Sequence[Column[Any]]) -> tuple[list[str], str]:
    """Return the values of a row in SQL and where they come from, with a place for all values.

    PostgreSQL takes an array per column, the others one JSON text, which costs mysqlclient less than half of what it
    needs to quote the values one by one.
    """
    match dialect.name:
        case "sqlite":
            values = [f"json_extract(came.value, '$[{position}]')" for position in range(len(columns))]
            # Without WHERE, SQLite would take ON CONFLICT for the condition of a join.
            return values, "FROM json_each(?) AS came WHERE true"
        case "postgresql":
            arrays = ", ".join(f"%s::{column.type.compile(dialect)}[]" for column in columns)
            names = [column.name for column in columns]
            return names, f"FROM unnest({arrays}) AS came ({', '.join(names)})"
        case _:
            paths = ", ".join(
                f"{column.name} {_json_type(column)} PATH '$[{position}]' ERROR ON ERROR"
                for position, column in enumerate(columns)
            )
            values = [f"came.{column.name}" for column in columns]
            return values, f"FROM JSON_TABLE(%s, '$[*]' COLUMNS ({paths})) AS came"


def _json_type(column: Column[Any]) -> str:
    match column.type:
        case String(length=length):
            return f"VARCHAR({length}) CHARACTER SET utf8mb4"
        case _:
            # MariaDB clips a number that does not fit its type here, but refuses it for the table's column.
            return "BIGINT"
