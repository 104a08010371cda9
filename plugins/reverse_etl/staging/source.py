"""Rows of a query on MySQL or MariaDB as a stream of chunks: bounded memory, read-only transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import MySQLdb
import MySQLdb.connections
from MySQLdb.constants import FIELD_TYPE
from MySQLdb.times import DateTime_or_None

from reverse_etl.errors import ConfigurationError, SourceError
from reverse_etl.staging.columns import Description, SourceColumn, describe_columns
from reverse_etl.staging.mysql_errors import source_errors
from reverse_etl.staging.statement import Statement, bindable, read_statement

Row = tuple[object, ...]

_MULTI_STATEMENTS_OFF = 1  # enum_mysql_set_option of the C API
# net_write_timeout, in seconds: by default the server hangs up when nobody reads for 60 s, and writing a
# batch to a slow store may take longer. group_concat_max_len, in bytes: MySQL cuts GROUP_CONCAT at 1024
# without an error; this is MariaDB's default.
_SESSION = (
    "SET SESSION time_zone = '+00:00', net_write_timeout = 3600, group_concat_max_len = 1048576",
    "START TRANSACTION READ ONLY",
)


_NO_ROWS = "SET SESSION sql_select_limit = 0"

FIRST_ROWS = 100
CHUNK_BYTES = 8 * 1024**2
SAMPLED_ROWS = 20


class RowStream(Protocol):
    """Rows of a result with the description of their columns; iterating gives chunks of rows."""

    @property
    def columns(self) -> tuple[SourceColumn, ...]:
        """The columns, in the order of the values of a row."""

    def __iter__(self) -> Iterator[tuple[Row, ...]]:
        """Return an iterator over chunks; it can be used once."""

    def close(self) -> None:
        """Release the source; safe to call again."""


class _Result(Protocol):
    """What is used of a result of MySQLdb, read from the server row by row as its SSCursor does."""

    @property
    def converter(self) -> Sequence[object]: ...
    def describe(self) -> Sequence[Description]: ...
    def field_flags(self) -> Sequence[int]: ...
    def fetch_row(self, maxrows: int, how: int, /) -> tuple[Row, ...]: ...


class _Connection(Protocol):
    """What is used of a connection of MySQLdb."""

    @property
    def converter(self) -> MutableMapping[int, object]: ...
    @property
    def open(self) -> bool: ...
    def close(self) -> None: ...
    def literal(self, value: object, /) -> bytes: ...
    def query(self, statement: bytes, /) -> None: ...
    def set_character_set(self, charset: str, /) -> None: ...
    def set_server_option(self, option: int, /) -> None: ...
    def store_result(self) -> object: ...
    def use_result(self) -> _Result | None: ...


class QueryStream:
    """A running query, a RowStream. Closing it, also by leaving a `with` block, closes its connection.

    Rows that were not read are thereby dropped by the server, and not carried over the network first.
    """

    def __init__(self, connection: _Connection, result: _Result, statement: Statement, fetch_rows: int) -> None:
        self._connection = connection
        self._result = result
        self._statement = statement
        self._fetch_rows = fetch_rows
        self._rows_at_once = min(fetch_rows, FIRST_ROWS)
        self.columns = describe_columns(result.describe(), result.field_flags(), result.converter)

    def __iter__(self) -> Iterator[tuple[Row, ...]]:
        """Yield chunks of at most `fetch_rows` rows; the connection is closed at the end and after an error.

        Raises SourceUnavailable when the database goes away, SourceError when it gives up the query.
        """
        try:
            while chunk := self._fetch():
                yield chunk
                self._rows_at_once = _fitting_rows(chunk, self._fetch_rows)
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; safe to call again."""
        _close(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _fetch(self) -> tuple[Row, ...]:
        with source_errors("reading the rows of the query", self._statement):
            return self._result.fetch_row(self._rows_at_once, 0)


def _fitting_rows(chunk: Sequence[Row], most: int) -> int:
    """Return how many rows like a few of this chunk fit into 8 MB, so that large cells do not fill the memory."""
    sample = chunk[:: max(1, len(chunk) // SAMPLED_ROWS)]
    sizes = (len(value) if isinstance(value, str | bytes) else 8 for row in sample for value in row)
    return max(1, min(most, CHUNK_BYTES * len(sample) // max(1, sum(sizes))))


def stream_query(
    connection: object, sql: str, parameters: Mapping[str, object], *, fetch_rows: int = 5000
) -> QueryStream:
    """Run the query of a SQL file and return its rows as a stream, which owns the connection from here on.

    `connection` is one of MySQLdb, as given by `MySqlHook.get_conn()`. Its session is set to UTC and
    utf8mb4, and the query runs in a read-only transaction, so that it cannot change data. `parameters` fill
    the `%(name)s` placeholders of the SQL, bound and quoted; datetimes must be aware. `fetch_rows` is the
    number of rows per chunk: lower it when single rows are megabytes in size.

    Raises SourceUnavailable when the database cannot be reached, SourceError when the SQL, its parameters or
    its columns cannot be used, ConfigurationError for a connection of another client library. After an error
    the connection is closed.
    """
    return _opened(connection, sql, parameters, fetch_rows, _SESSION)


def describe_query(connection: object, sql: str, parameters: Mapping[str, object]) -> tuple[SourceColumn, ...]:
    """Return the columns of a query's result without its rows, and close the connection.

    The session's limit of rows is 0, which the server answers at once; a query with a LIMIT of its own at the end runs.
    Raises what `stream_query` raises.
    """
    with _opened(connection, sql, parameters, 1, (*_SESSION, _NO_ROWS)) as stream:
        return stream.columns


def _opened(
    connection: object, sql: str, parameters: Mapping[str, object], fetch_rows: int, session: Sequence[str]
) -> QueryStream:
    if not isinstance(connection, MySQLdb.connections.Connection):
        raise ConfigurationError(
            f"the source connection is a {type(connection).__module__} one; it must be of mysqlclient: "
            "remove 'client' from the extra of the Airflow connection"
        )
    try:
        return _run(connection, read_statement(sql, parameters), parameters, fetch_rows, session)
    except BaseException:
        _close(connection)
        raise


def _run(
    connection: _Connection,
    statement: Statement,
    parameters: Mapping[str, object],
    fetch_rows: int,
    session: Sequence[str],
) -> QueryStream:
    with source_errors("preparing the session"):
        connection.set_character_set("utf8mb4")
        connection.set_server_option(_MULTI_STATEMENTS_OFF)
        for command in session:
            connection.query(command.encode())
            connection.store_result()
    connection.converter[FIELD_TYPE.DATETIME] = connection.converter[FIELD_TYPE.TIMESTAMP] = _moment
    query = _bind(connection, statement, parameters)
    with source_errors("running the query", statement):
        connection.query(query)
        result = connection.use_result()
    if result is None:
        raise SourceError("the query returns no columns; write a SELECT without INTO")
    return QueryStream(connection, result, statement, fetch_rows)


def _moment(text: str) -> object:
    """Return a moment from MySQL's text, in a tenth of MySQLdb's time, whose word counts for what is no moment."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return DateTime_or_None(text)


def _bind(connection: _Connection, statement: Statement, parameters: Mapping[str, object]) -> bytes:
    values = bindable(parameters)
    try:
        literals = {name.encode(): connection.literal(value) for name, value in values.items()}
        return statement.text.encode() % literals
    except (MySQLdb.Error, ValueError):
        raise SourceError(
            f"a value of the parameters ({', '.join(values)}) cannot be written in SQL; "
            "give finite numbers and valid text"
        ) from None


def _close(connection: _Connection) -> None:
    if connection.open:
        connection.close()
