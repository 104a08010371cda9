"""A query asked for the rows of some keys only."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from MySQLdb.constants import FIELD_TYPE

from reverse_etl.errors import SourceError
from reverse_etl.redaction import KeyHasher, key_of
from reverse_etl.staging.batches import read_rows, write_batches
from reverse_etl.staging.choosing import ChosenRows
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.narrowed import check_exact, narrowed
from reverse_etl.staging.source import Row, stream_query
from tests.database import Connect, run
from tests.staging.streams import number, of_type, text

HASHER = KeyHasher("a hash key for the tests")


def found(connect: Connect, sql: str, key: Sequence[str], keys: Sequence[Row]) -> set[str]:
    """Return the hashes of those of the keys that the query gives."""
    stream = stream_query(connect(), *narrowed(sql, {}, key, keys))
    check_exact(stream.columns)
    chosen = ChosenRows(stream, key, {HASHER(values) for values in keys}, HASHER)
    list(chosen)
    return chosen.found


def staged(connect: Connect, sql: str, key: Sequence[str], folder: StagingPath) -> list[Row]:
    """Return the keys of all rows as their batches give them."""
    [batch] = write_batches(stream_query(connect(), sql, {}), folder)
    return [key_of(row, key) for rows in read_rows(folder / f"batch-{batch.index:05d}.parquet") for row in rows]


@pytest.mark.parametrize(
    ("type_name", "typed"),
    [
        ("FLOAT", FIELD_TYPE.FLOAT),
        ("DOUBLE", FIELD_TYPE.DOUBLE),
        ("TIME", FIELD_TYPE.TIME),
        ("BIT", FIELD_TYPE.BIT),
        ("JSON", FIELD_TYPE.JSON),
        ("GEOMETRY", FIELD_TYPE.GEOMETRY),
    ],
)
def test_a_key_that_need_not_equal_itself_is_refused(type_name: str, typed: int) -> None:
    with pytest.raises(SourceError, match=f"'k', which is a {type_name}"):
        check_exact([number("id"), of_type("k", typed)])
    check_exact([number("id"), text("k")])


@pytest.mark.integration
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id AS k, name FROM people",
        "SELECT id AS k, name FROM people ORDER BY name DESC, id LIMIT 100;",
        "-- people\nSELECT id AS k, name FROM people # all of them\n WHERE COALESCE(name, '') LIKE '%%' ; -- the end",
        "WITH p AS (SELECT id AS k, name FROM people) SELECT k, name FROM p",
        "SELECT id AS k, COUNT(*) AS number FROM people GROUP BY id HAVING number > 0",
        "SELECT id AS k FROM people WHERE id < 3 UNION ALL SELECT id FROM people WHERE id >= 3",
        "(SELECT id AS k FROM people)",
        "SELECT id AS k, ROW_NUMBER() OVER (ORDER BY name) AS place FROM people",
        "SELECT p.id AS k, q.name FROM people p LEFT JOIN people q ON q.id = p.id + 1000",
    ],
)
def test_a_query_of_any_form_gives_the_rows_of_the_keys(connect: Connect, sql: str) -> None:
    run(
        connect,
        "CREATE TABLE people (id INT PRIMARY KEY, name VARCHAR(20))",
        "INSERT INTO people VALUES (1, 'Ada'), (2, NULL), (3, 'Bert'), (4, '%')",
    )
    assert found(connect, sql, ["k"], [(2,), (4,), (5,), (None,)]) == {HASHER((2,)), HASHER((4,))}
    assert found(connect, sql, ["k"], [(5,)]) == set()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("INT", "-1, 0, 7"),
        ("BIGINT UNSIGNED", "18446744073709551615"),
        ("TINYINT(1)", "0, 1"),
        ("YEAR", "1901, 2026"),
        ("DECIMAL(65, 30)", "12345678901234567890123456789012345.123456789012345678901234567890, -0.1"),
        ("DATE", "'0001-01-01', '2026-02-28'"),
        ("DATETIME(6)", "'2026-01-13 08:00:00', '2026-01-13 08:00:00.000001'"),
        ("TIMESTAMP(3)", "'2026-03-29 01:30:00.250'"),
        ("VARCHAR(50)", r"'', 'o''neill', 'back\\slash', '%s', 'grüße', '北京', '👩‍👩‍👧'"),
        ("CHAR(5) CHARACTER SET latin1", "'ü', 'ab'"),
        ("VARCHAR(50) COLLATE utf8mb4_bin", "'a', 'A', 'a '"),
        ("TEXT", f"'{'ab' * 5000}'"),
        ("ENUM('x', 'y')", "'y'"),
        ("VARBINARY(5)", "x'00ff27', x''"),
    ],
)
def test_values_of_any_other_type_find_their_own_row(
    connect: Connect, folder: StagingPath, declared: str, values: str
) -> None:
    rows = ", ".join(f"({number}, {value})" for number, value in enumerate(values.split(", ")))
    run(connect, f"CREATE TABLE t (id INT, k {declared})", f"INSERT INTO t VALUES {rows}")
    for sql, key in (("SELECT k FROM t", ["k"]), ("SELECT id, k FROM t", ["k", "id"])):
        keys = staged(connect, sql, key, folder)
        assert found(connect, sql, key, keys) == {HASHER(values) for values in keys}


@pytest.mark.integration
def test_a_key_in_other_letters_is_another_key(connect: Connect) -> None:
    run(connect, "CREATE TABLE t (k VARCHAR(20) COLLATE utf8mb4_general_ci)", "INSERT INTO t VALUES ('ada'), ('Éva')")
    sql = "SELECT k FROM t"
    assert found(connect, sql, ["k"], [("ADA",), ("eva",), ("ada ",)]) == set()
    assert found(connect, sql, ["k"], [("ADA",), ("ada",)]) == {HASHER(("ada",))}


@pytest.mark.integration
def test_a_key_of_two_columns_needs_both_in_one_row(connect: Connect) -> None:
    run(connect, "CREATE TABLE t (a INT, b VARCHAR(5))", "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, NULL)")
    keys: list[Row] = [(1, "y"), (2, "x"), (2, "y"), (3, None)]
    assert found(connect, "SELECT b, a FROM t", ["a", "b"], keys) == {HASHER((2, "y"))}


@pytest.mark.integration
@pytest.mark.parametrize("charset", ["latin1", "ucs2", "utf8mb4"])
def test_many_keys_are_found_in_any_character_set(connect: Connect, charset: str) -> None:
    keys: list[Row] = [(f"ü{number}",) for number in range(2_000)]
    rows = ", ".join(f"('{text}')" for (text,) in keys)
    run(connect, f"CREATE TABLE t (k VARCHAR(20) CHARACTER SET {charset})", f"INSERT INTO t VALUES {rows}")
    assert found(connect, "SELECT k FROM t", ["k"], [*keys, ("ä1",)]) == {HASHER(key) for key in keys}
