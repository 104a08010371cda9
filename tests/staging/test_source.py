from __future__ import annotations

import time
from datetime import UTC, datetime

import MySQLdb
import pytest

from reverse_etl.errors import ConfigurationError, SourceError, SourceUnavailable
from reverse_etl.staging.batches import read_rows, write_batches
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.mysql_errors import source_error, source_errors
from reverse_etl.staging.source import stream_query
from tests.database import Connect, run
from tests.staging.streams import Interrupted

integration = pytest.mark.integration
DIGITS = " UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10))
MILLION = (
    f"WITH digits AS ({DIGITS}) SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d + 100000 * f.d AS n, "
    "REPEAT('x', 100) AS filler FROM digits a, digits b, digits c, digits d, digits e, digits f"
)


def rows_of(connect: Connect, sql: str, **parameters: object) -> list[tuple[object, ...]]:
    return [row for chunk in stream_query(connect(), sql, parameters) for row in chunk]


@integration
@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("-- title\n\nSELECT 1 AS a,\n  2 AS b c\nFROM t", "syntax error near line 4 of the file: '2 AS b c'"),
        ("SELECT nope FROM people", r"MySQL error 1054: Unknown column 'nope' in"),
        ("SELECT 1 AS a FROM nobody", r"MySQL error 1146: Table '.*nobody' doesn't exist"),
        ("SELECT id FROM people p, people q", r"MySQL error 1052: Column 'id' in .* is ambiguous"),
        ("SELECT 1 AS a INTO @a", "returns no columns; write a SELECT without INTO"),
        ("SELECT id, COUNT(*) FROM people GROUP BY id", "column 2 of the result"),
        ("WITH p AS (SELECT 1 AS a) SELECT id FROM people FOR UPDATE OF nothing", "refused|syntax error"),
    ],
)
def test_a_query_the_server_refuses_is_explained(connect: Connect, sql: str, message: str) -> None:
    run(connect, "CREATE TABLE people (id INT)")
    connection = connect()

    with pytest.raises(SourceError, match=message) as caught:
        stream_query(connection, sql, {})

    assert not caught.value.retryable
    assert not connection.open


@integration
def test_a_parameter_never_appears_in_an_error(connect: Connect) -> None:
    run(connect, "CREATE TABLE people (id INT, name VARCHAR(50))")
    secret = "anna.kowalska@example.com"

    for sql in (
        "SELECT id FROM people WHERE name = %(name)s ORDERED BY id",
        "SELECT %(name)s FROM people",
        "SELECT * FROM (SELECT %(name)s, %(name)s) AS twice",
        "SELECT DATE_ADD(%(name)s, 1) AS a",
    ):
        with pytest.raises(SourceError) as caught:
            stream_query(connect(), sql, {"name": secret})
        assert secret not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@integration
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_a_value_that_sql_cannot_express_is_refused_by_name(connect: Connect, value: object) -> None:
    with pytest.raises(SourceError, match=r"a value of the parameters \(day\) cannot be written in SQL"):
        stream_query(connect(), "SELECT %(day)s AS a", {"day": value})


@integration
def test_the_query_cannot_change_data(connect: Connect) -> None:
    run(
        connect,
        "CREATE TABLE people (id INT)",
        "INSERT INTO people VALUES (1)",
        "CREATE FUNCTION forget() RETURNS INT DETERMINISTIC BEGIN DELETE FROM people; RETURN 1; END",
    )

    with pytest.raises(SourceError, match="would change data .MySQL error 1792.; the SQL file must only read"):
        rows_of(connect, "SELECT forget() AS gone")

    assert rows_of(connect, "SELECT id FROM people") == [(1,)]


@integration
def test_several_statements_in_one_comment_are_refused_by_the_server(connect: Connect) -> None:
    with pytest.raises(SourceError, match="syntax error"):
        stream_query(connect(), "SELECT 1 AS a /*! ; SELECT 2 AS b */", {})


@integration
def test_parameters_are_bound_in_utc_and_percent_signs_arrive(connect: Connect) -> None:
    rows = rows_of(
        connect,
        "SELECT %(moment)s AS moment, '5%%' AS share, %(text)s AS text -- 5 % of all",
        moment=datetime(2026, 1, 13, 1, 2, 3, 4, UTC),
        text="O'Connor; DROP TABLE people -- \\",
    )

    assert rows == [("2026-01-13 01:02:03.000004", "5%", "O'Connor; DROP TABLE people -- \\")]


@integration
def test_chunks_have_at_most_the_wanted_rows_and_the_end_closes_the_connection(connect: Connect) -> None:
    connection = connect()

    stream = stream_query(connection, f"{DIGITS}", {}, fetch_rows=4)

    assert [len(chunk) for chunk in stream] == [4, 4, 2]
    assert not connection.open


@integration
def test_an_early_end_closes_the_connection_without_reading_the_rest(connect: Connect, folder: StagingPath) -> None:
    connection = connect()
    started = time.monotonic()

    refs = write_batches(
        stream_query(connection, f"SELECT a.n, a.filler FROM ({MILLION}) a, (SELECT 1 UNION SELECT 2) b", {}),
        folder,
        row_limit=3,
    )

    assert [ref.rows for ref in refs] == [3]
    assert not connection.open
    assert time.monotonic() - started < 20


@integration
def test_a_connection_killed_while_rows_arrive_is_unavailable_and_leaves_whole_batches(
    connect: Connect, folder: StagingPath
) -> None:
    connection = connect()
    thread = connection.thread_id()
    stream = Interrupted(
        stream_query(connection, MILLION, {}, fetch_rows=1000), lambda: run(connect, f"KILL CONNECTION {thread}")
    )

    with pytest.raises(SourceUnavailable, match=r"the database is unavailable .MySQL error \d+"):
        write_batches(stream, folder, batch_rows=300)

    names = sorted(path.name for path in folder.iterdir())
    assert names[0] == "batch-00000.parquet"
    assert names[-1] == "schema.parquet"
    assert not [name for name in names if "partial" in name]
    for name in names[:-1]:
        assert sum(len(rows) for rows in read_rows(folder / name)) == 300


@integration
def test_a_query_killed_while_rows_arrive_is_unavailable(connect: Connect, folder: StagingPath) -> None:
    connection = connect()
    thread = connection.thread_id()
    stream = Interrupted(
        stream_query(connection, MILLION, {}, fetch_rows=100), lambda: run(connect, f"KILL QUERY {thread}")
    )

    with pytest.raises(SourceUnavailable, match="MySQL error 1317"):
        write_batches(stream, folder)


@integration
def test_a_connection_lost_before_the_query_is_unavailable(connect: Connect) -> None:
    connection = connect()
    run(connect, f"KILL CONNECTION {connection.thread_id()}")

    with pytest.raises(SourceUnavailable, match="preparing the session") as caught:
        stream_query(connection, "SELECT 1 AS a", {})

    assert caught.value.retryable


@integration
def test_a_closed_connection_is_not_taken_for_an_outage(connect: Connect) -> None:
    connection = connect()
    connection.close()

    with pytest.raises(SourceError, match="open a new one for each query|database is unavailable"):
        stream_query(connection, "SELECT 1 AS a", {})


def test_a_text_that_is_not_valid_in_its_character_set_is_explained() -> None:
    with pytest.raises(SourceError, match="not valid in its character set"), source_errors("reading"):
        b"anna\xff".decode("utf-8")


def test_a_refused_connection_is_unavailable() -> None:
    message = "connecting: the database is unavailable .MySQL error 2002"

    with pytest.raises(SourceUnavailable, match=message), source_errors("connecting"):
        MySQLdb.connect(unix_socket="/nonexistent/mysqld.sock")


def test_a_connection_of_another_client_library_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="it must be of mysqlclient: remove 'client'"):
        stream_query(object(), "SELECT 1 AS a", {})


PERSONAL = "anna.kowalska@example.com"


@pytest.mark.parametrize(
    ("number", "message", "kind", "shown"),
    [
        (1040, "Too many connections", SourceUnavailable, False),
        (1053, "Server shutdown in progress", SourceUnavailable, False),
        (1205, "Lock wait timeout exceeded", SourceUnavailable, False),
        (1213, "Deadlock found", SourceUnavailable, False),
        (1927, "Connection was killed", SourceUnavailable, False),
        (2003, "Can't connect to server on '127.0.0.1' (111)", SourceUnavailable, True),
        (2013, "Lost connection", SourceUnavailable, True),
        (1045, "Access denied for user 'airflow'@'10.0.0.3'", SourceError, True),
        (1142, "SELECT command denied for table 'people'", SourceError, True),
        (1292, f"Truncated incorrect DOUBLE value: '{PERSONAL}'", SourceError, False),
        (1062, f"Duplicate entry '{PERSONAL}' for key 'email'", SourceError, False),
        (1064, f"You have an error ... near '{PERSONAL}' at line 1", SourceError, False),
        (3024, "Query execution was interrupted, maximum statement execution time", SourceError, False),
        (9999, PERSONAL, SourceError, False),
    ],
)
def test_each_error_number_is_told_apart_and_no_message_with_data_is_repeated(
    number: int, message: str, kind: type[SourceError], shown: bool
) -> None:
    error = source_error(MySQLdb.OperationalError(number, message), "running the query")

    assert type(error) is kind
    assert (message in str(error)) is shown
    assert str(number) in str(error)
    assert PERSONAL not in str(error)
