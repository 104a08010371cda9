from __future__ import annotations

import csv
import io
import math
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from MySQLdb.constants import FIELD_TYPE
from upath import UPath

from reverse_etl.errors import StagingError
from reverse_etl.staging.batches import SCHEMA_FILE, BatchRef, write_batches
from reverse_etl.staging.csv_export import export_csv
from reverse_etl.staging.files import StagingPath
from tests.staging.streams import ListStream, number, numbers, of_type, text


def parsed(path: StagingPath) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))


def exported(stream: ListStream, folder: StagingPath, *, neutralise: bool = True) -> list[list[str]]:
    refs = write_batches(stream, folder, batch_rows=3)
    export_csv(refs, folder, folder / "out.csv", neutralise=neutralise)
    return parsed(folder / "out.csv")


@pytest.mark.parametrize("count", [0, 1, 3, 4, 25_000])
def test_every_row_is_written_under_one_header(count: int, folder: StagingPath) -> None:
    refs = write_batches(numbers(count, chunk=5000), folder, batch_rows=12_000)

    assert export_csv(refs, folder, folder / "out.csv") == count
    assert parsed(folder / "out.csv") == [["n"], *([str(index)] for index in range(count))]


def test_it_writes_to_any_storage(any_folder: StagingPath) -> None:
    assert exported(numbers(4), any_folder) == [["n"], ["0"], ["1"], ["2"], ["3"]]


def test_a_reader_gets_back_what_was_written(folder: StagingPath) -> None:
    texts = [
        "plain",
        "Zażółć, 渡辺 🎉",
        'two "quoted" words',
        "a,b;c\td",
        "line\nbreak\r\nand another",
        " spaces ",
        "'",
    ]

    assert exported(ListStream([text("t")], [[(value,) for value in texts]]), folder) == [
        ["t"],
        *([value] for value in texts),
    ]


def test_null_is_empty_and_an_empty_text_is_quoted(folder: StagingPath) -> None:
    exported(ListStream([text("a"), number("b")], [[(None, None), ("", 0)]]), folder)

    assert (folder / "out.csv").read_bytes() == b'"a","b"\n,\n"",0\n'


RISKY = ["=", "+", "-", "@", "\t", "\r", "\n", "\x00", "\x1b", "\x7f", "\x85", "\uff1d", "\uff0b", "\uff0d", "\uff20"]


@pytest.mark.parametrize("first", RISKY, ids=ascii)
def test_a_text_a_spreadsheet_would_run_is_neutralised(first: str, folder: StagingPath) -> None:
    value = f"{first}HYPERLINK(1)=+-@"

    assert exported(ListStream([text("t")], [[(value,), (first,)]]), folder)[1:] == [[f"'{value}"], [f"'{first}"]]
    assert exported(ListStream([text("t")], [[(value,)]]), folder, neutralise=False)[1:] == [[value]]


@pytest.mark.parametrize("value", ["a=1", "1-2", "anna@example.com", "", "'=1", "é", "渡", "~", " ", "\xa0"], ids=ascii)
def test_a_harmless_text_stays_as_it_is(value: str, folder: StagingPath) -> None:
    assert exported(ListStream([text("t"), number("n")], [[(value, 1)]]), folder)[1:] == [[value, "1"]]


def test_numbers_and_times_are_not_texts_and_keep_their_sign(folder: StagingPath) -> None:
    columns = [
        number("n"),
        of_type("d", FIELD_TYPE.DOUBLE),
        of_type("m", FIELD_TYPE.NEWDECIMAL, decimals=2),
        of_type("t", FIELD_TYPE.DATETIME),
    ]
    moment = datetime(2026, 1, 13, 1, 2, 3, tzinfo=UTC).replace(tzinfo=None)

    rows = exported(ListStream(columns, [[(-5, -0.0, Decimal("-1.50"), moment)]]), folder)

    assert rows[1] == ["-5", "-0", "-1.50", "2026-01-13T01:02:03+00:00"]
    assert math.copysign(1, float(rows[1][1])) == -1


@pytest.mark.parametrize(("neutralise", "cell"), [(True, "'=name"), (False, "=name")])
def test_a_header_is_neutralised_too(neutralise: bool, cell: str, folder: StagingPath) -> None:
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"=name": ["x"]}), UPath(folder / SCHEMA_FILE).path)

    export_csv([], folder, folder / "out.csv", neutralise=neutralise)

    assert parsed(folder / "out.csv") == [[cell]]


def test_a_batch_of_another_size_is_refused_and_leaves_no_file(folder: StagingPath) -> None:
    refs = write_batches(numbers(3), folder)
    wrong = [BatchRef(0, refs[0].path, 4)]

    with pytest.raises(StagingError, match="holds 3 rows where its reference says 4"):
        export_csv(wrong, folder, folder / "out.csv")

    assert sorted(path.name for path in folder.iterdir()) == ["batch-00000.parquet", "schema.parquet"]


def test_a_missing_batch_leaves_the_earlier_file(any_folder: StagingPath) -> None:
    refs = write_batches(numbers(3), any_folder)
    export_csv(refs, any_folder, any_folder / "out.csv")
    before = (any_folder / "out.csv").read_bytes()

    with pytest.raises(StagingError, match="batch-00007.parquet is missing"):
        export_csv([*refs, BatchRef(7, "batch-00007.parquet", 1)], any_folder, any_folder / "out.csv")

    assert (any_folder / "out.csv").read_bytes() == before
    assert not [path.name for path in any_folder.iterdir() if "partial" in path.name]
