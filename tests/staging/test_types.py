"""Every MySQL type on its way from a real server to Parquet and to CSV."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from reverse_etl.staging.batches import BatchRef, read_rows, read_schema, write_batches
from reverse_etl.staging.csv_export import export_csv
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.source import stream_query
from tests.database import Connect, run

pytestmark = pytest.mark.integration

TEXT, BINARY, MOMENT = pa.large_string(), pa.large_binary(), pa.timestamp("us", tz="UTC")
# 🎉 is outside the Basic Multilingual Plane: lost by any three-byte utf8 on the way.
UNICODE = "Zażółć gęślą jaźń, 渡辺, 🎉"
HUGE = "9" * 35 + "." + "9" * 30

CASES = [
    # definition, SQL literal, Arrow type, value, CSV cell
    ("TINYINT", "-128", pa.int8(), -128, "-128"),
    ("TINYINT UNSIGNED", "255", pa.uint8(), 255, "255"),
    ("BOOLEAN", "TRUE", pa.int8(), 1, "1"),
    ("SMALLINT", "-32768", pa.int16(), -32768, "-32768"),
    ("SMALLINT UNSIGNED", "65535", pa.uint16(), 65535, "65535"),
    ("MEDIUMINT", "-8388608", pa.int32(), -8388608, "-8388608"),
    ("MEDIUMINT UNSIGNED", "16777215", pa.uint32(), 16777215, "16777215"),
    ("INT", "-2147483648", pa.int32(), -2147483648, "-2147483648"),
    ("INT UNSIGNED", "4294967295", pa.uint32(), 4294967295, "4294967295"),
    ("INT(6) ZEROFILL", "42", pa.uint32(), 42, "42"),
    ("BIGINT", "-9223372036854775808", pa.int64(), -(2**63), "-9223372036854775808"),
    ("BIGINT UNSIGNED", "18446744073709551615", pa.uint64(), 2**64 - 1, "18446744073709551615"),
    ("FLOAT", "0.1", pa.float64(), 0.1, "0.1"),
    ("DOUBLE", "-2.5e-300", pa.float64(), -2.5e-300, "-2.5e-300"),
    ("DECIMAL(10,2)", "-12345678.90", pa.decimal128(38, 2), Decimal("-12345678.90"), "-12345678.90"),
    ("DECIMAL(10,2) UNSIGNED", "0.01", pa.decimal128(38, 2), Decimal("0.01"), "0.01"),
    ("DECIMAL(38,0)", "-" + "9" * 38, pa.decimal128(38, 0), Decimal("-" + "9" * 38), "-" + "9" * 38),
    ("DECIMAL(39,1)", "9" * 38 + ".9", pa.decimal256(76, 1), Decimal("9" * 38 + ".9"), "9" * 38 + ".9"),
    ("DECIMAL(65,30)", HUGE, pa.decimal256(76, 30), Decimal(HUGE), HUGE),
    ("DATE", "'1000-01-01'", pa.date32(), date(1000, 1, 1), "1000-01-01"),
    ("DATE", "'0000-00-00'", pa.date32(), None, ""),
    ("DATETIME", "'9999-12-31 23:59:59'", MOMENT, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
     "9999-12-31T23:59:59+00:00"),
    ("DATETIME(3)", "'2026-01-13 01:02:03.004'", MOMENT, datetime(2026, 1, 13, 1, 2, 3, 4000, UTC),
     "2026-01-13T01:02:03.004000+00:00"),
    ("DATETIME(6)", "'1969-12-31 23:59:59.999999'", MOMENT, datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
     "1969-12-31T23:59:59.999999+00:00"),
    ("DATETIME", "'0000-00-00 00:00:00'", MOMENT, None, ""),
    ("TIMESTAMP", "'2026-07-01 12:00:00'", MOMENT, datetime(2026, 7, 1, 12, tzinfo=UTC), "2026-07-01T12:00:00+00:00"),
    ("TIMESTAMP", "'0000-00-00 00:00:00'", MOMENT, None, ""),
    ("TIME", "'838:59:59'", pa.duration("us"), timedelta(hours=838, minutes=59, seconds=59), "838:59:59"),
    ("TIME(6)", "'-00:00:00.000001'", pa.duration("us"), timedelta(microseconds=-1), "-00:00:00.000001"),
    ("YEAR", "2026", pa.int16(), 2026, "2026"),
    ("BIT(1)", "b'1'", BINARY, b"\x01", "01"),
    ("BIT(12)", "b'101100000001'", BINARY, b"\x0b\x01", "0b01"),
    ("BINARY(3)", "x'00ff'", BINARY, b"\x00\xff\x00", "00ff00"),
    ("VARBINARY(10)", "'text'", BINARY, b"text", "74657874"),
    ("BLOB", "x'ff00'", BINARY, b"\xff\x00", "ff00"),
    ("LONGBLOB", "''", BINARY, b"", ""),
    ("CHAR(40)", f"'{UNICODE}'", TEXT, UNICODE, UNICODE),
    ("VARCHAR(40)", f"'{UNICODE}'", TEXT, UNICODE, UNICODE),
    ("VARCHAR(40) CHARACTER SET latin1", "'é'", TEXT, "é", "é"),
    ("VARCHAR(40) COLLATE utf8mb4_bin", f"'{UNICODE}'", TEXT, UNICODE, UNICODE),
    ("TEXT", f"'{UNICODE}'", TEXT, UNICODE, UNICODE),
    ("TEXT COLLATE utf8mb4_bin", f"'{UNICODE}'", TEXT, UNICODE, UNICODE),
    ("TEXT", "REPEAT('x', 65535)", TEXT, "x" * 65535, "x" * 65535),
    ("LONGTEXT", "REPEAT('🎉', 65536)", TEXT, "🎉" * 65536, "🎉" * 65536),
    ("TEXT", "'two\\nlines, \"quoted\"'", TEXT, 'two\nlines, "quoted"', 'two\nlines, "quoted"'),
    ("VARCHAR(10)", "''", TEXT, "", ""),
    ("ENUM('free', 'pro')", "'pro'", TEXT, "pro", "pro"),
    ("SET('a', 'b', 'c')", "'c,a'", TEXT, "a,c", "a,c"),
    ("JSON", """'{"a": "ż"}'""", TEXT, '{"a": "ż"}', '{"a": "ż"}'),
    ("POINT", "POINT(0, 0)", BINARY, bytes.fromhex("00000000" + "0101000000" + "00" * 16),
     "00000000" + "0101000000" + "00" * 16),
]  # fmt: skip


def staged(connect: Connect, folder: StagingPath, sql: str) -> list[BatchRef]:
    return write_batches(stream_query(connect(), sql, {}), folder)


def cells(refs: list[BatchRef], folder: StagingPath) -> list[list[str]]:
    export_csv(refs, folder, folder / "rows.csv")
    csv.field_size_limit(10**7)
    return list(csv.reader((folder / "rows.csv").read_text().splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("definition", "literal", "arrow_type", "value", "cell"), CASES, ids=[f"{c[0]} {c[1][:20]}" for c in CASES]
)
def test_a_value_and_null_of_each_type_arrive(
    connect: Connect,
    folder: StagingPath,
    definition: str,
    literal: str,
    arrow_type: pa.DataType,
    value: object,
    cell: str,
) -> None:
    run(
        connect,
        "SET SESSION sql_mode = ''",
        f"CREATE TABLE kinds (id INT PRIMARY KEY, value {definition} NULL)",
        f"INSERT INTO kinds VALUES (1, {literal}), (2, NULL)",
    )

    refs = staged(connect, folder, "SELECT id, value FROM kinds ORDER BY id")

    assert read_schema(folder).field("value").type == arrow_type
    assert [row["value"] for rows in read_rows(folder / "batch-00000.parquet") for row in rows] == [value, None]
    assert cells(refs, folder) == [["id", "value"], ["1", cell], ["2", ""]]


@pytest.mark.parametrize(
    ("expression", "arrow_type", "value"),
    [
        ("NULL", TEXT, None),
        ("COUNT(*)", pa.int64(), 1),
        ("SUM(CAST(1.5 AS DECIMAL(10,2)))", pa.decimal128(38, 2), Decimal("1.50")),
        ("GROUP_CONCAT('a')", TEXT, "a"),
        ("CONCAT('a', 1)", TEXT, "a1"),
        ("MAX(CAST('2026-01-13' AS DATE))", pa.date32(), date(2026, 1, 13)),
        ("MAX(TIMESTAMP('2026-01-13 10:00:00'))", MOMENT, datetime(2026, 1, 13, 10, tzinfo=UTC)),
        ("0x41", BINARY, b"A"),
        ("LENGTH(GROUP_CONCAT(REPEAT('x', 5000)))", None, 5000),
    ],
)
def test_expressions_have_types_too(
    connect: Connect, folder: StagingPath, expression: str, arrow_type: pa.DataType | None, value: object
) -> None:
    staged(connect, folder, f"SELECT {expression} AS value")

    assert next(read_rows(folder / "batch-00000.parquet")) == [{"value": value}]
    assert arrow_type is None or read_schema(folder).field("value").type == arrow_type


def test_times_do_not_depend_on_the_time_zone_of_the_server(connect: Connect, folder: StagingPath) -> None:
    run(
        connect,
        "SET SESSION time_zone = '+09:00'",
        "CREATE TABLE moments (value TIMESTAMP)",
        "INSERT INTO moments VALUES ('2026-01-13 09:00:00')",
    )
    connection = connect()
    connection.query(b"SET SESSION time_zone = '-05:00'")
    connection.store_result()

    write_batches(stream_query(connection, "SELECT value FROM moments", {}), folder)

    assert next(read_rows(folder / "batch-00000.parquet")) == [{"value": datetime(2026, 1, 13, tzinfo=UTC)}]
