from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from reverse_etl.errors import ConfigurationError, StagingError
from reverse_etl.staging.batches import (
    BatchRef,
    read_record_batches,
    read_rows,
    read_schema,
    write_batches,
)
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.source import Row
from tests.staging.streams import ListStream, numbers, text


def read_back(refs: list[BatchRef], folder: StagingPath) -> list[object]:
    return [row["n"] for ref in refs for rows in read_rows(folder / UPath(ref.path).name, chunk_rows=3) for row in rows]


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, []), (1, [1]), (9, [9]), (10, [10]), (11, [10, 1]), (30, [10, 10, 10]), (35, [10, 10, 10, 5])],
)
@pytest.mark.parametrize("chunk", [1, 7, 10, 100])
def test_every_batch_is_full_but_the_last(count: int, sizes: list[int], chunk: int, folder: StagingPath) -> None:
    refs = write_batches(numbers(count, chunk), folder, batch_rows=10)

    assert [ref.rows for ref in refs] == sizes
    assert [ref.index for ref in refs] == list(range(len(sizes)))
    assert read_back(refs, folder) == list(range(count))
    assert read_schema(folder) == pa.schema([("n", pa.int64())])


def test_batches_lie_on_any_storage(any_folder: StagingPath) -> None:
    refs = write_batches(numbers(12), any_folder, batch_rows=5)

    assert [ref.path for ref in refs] == [f"{any_folder}/batch-{index:05d}.parquet" for index in range(3)]
    assert read_back(refs, any_folder) == list(range(12))


@pytest.mark.integration
def test_batches_lie_on_a_path_of_airflow(tmp_path: Path) -> None:
    from airflow.sdk import ObjectStoragePath

    folder = ObjectStoragePath(f"file://{tmp_path}/run")

    refs = write_batches(numbers(12), folder, batch_rows=5)

    assert refs[2] == BatchRef(2, f"file://{tmp_path}/run/batch-00002.parquet", 2)
    assert [row["n"] for rows in read_rows(ObjectStoragePath(refs[2].path)) for row in rows] == [10, 11]


def test_batches_are_compressed_with_zstd(folder: StagingPath) -> None:
    write_batches(numbers(12), folder)

    file = pq.ParquetFile(UPath(folder / "batch-00000.parquet").path)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize(("limit", "taken"), [(1, 1), (7, 1), (8, 2), (100, 3)])
def test_a_row_limit_stops_the_source(limit: int, taken: int, folder: StagingPath) -> None:
    stream = numbers(20, chunk=7)

    refs = write_batches(stream, folder, row_limit=limit)

    assert sum(ref.rows for ref in refs) == min(limit, 20)
    assert (stream.taken, stream.closed) == (taken, True)


def test_too_many_batches_are_refused_with_the_cure(folder: StagingPath) -> None:
    stream = numbers(7)

    with pytest.raises(ConfigurationError, match="more than 3 batches of 2 rows; raise batch_rows"):
        write_batches(stream, folder, batch_rows=2, max_batches=3)

    assert stream.closed


def test_as_many_batches_as_allowed_are_written(folder: StagingPath) -> None:
    assert len(write_batches(numbers(6), folder, batch_rows=2, max_batches=3)) == 3


@pytest.mark.parametrize("limits", [{"batch_rows": 0}, {"row_limit": 0}, {"row_limit": -1}, {"max_batches": 0}])
def test_a_limit_below_one_is_refused_by_name(limits: dict[str, int], folder: StagingPath) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(limits))} must be at least 1"):
        write_batches(numbers(1), folder, **limits)


def test_files_of_an_earlier_try_are_removed_and_others_stay(any_folder: StagingPath) -> None:
    write_batches(numbers(12), any_folder, batch_rows=2)
    (any_folder / ".batch-00003.parquet.1a2b.partial").write_bytes(b"half")
    (any_folder / "notes.txt").write_bytes(b"mine")

    write_batches(numbers(3), any_folder, batch_rows=2)

    assert sorted(path.name for path in any_folder.iterdir()) == [
        "batch-00000.parquet",
        "batch-00001.parquet",
        "notes.txt",
        "schema.parquet",
    ]


def test_a_stream_that_breaks_leaves_whole_batches_only(folder: StagingPath) -> None:
    class Breaking(ListStream):
        def __iter__(self) -> Iterator[tuple[Row, ...]]:
            yield from super().__iter__()
            raise StagingError("broken")

    stream = Breaking(numbers(0).columns, [[(1,), (2,)], [(3,)]])

    with pytest.raises(StagingError, match="broken"):
        write_batches(stream, folder, batch_rows=2)

    assert sorted(path.name for path in folder.iterdir()) == ["batch-00000.parquet", "schema.parquet"]
    assert stream.closed


def test_a_missing_batch_is_named_with_what_to_do(any_folder: StagingPath) -> None:
    with pytest.raises(StagingError, match="batch-00009.parquet is missing; run the extract task again"):
        next(read_rows(any_folder / "batch-00009.parquet"))


@pytest.mark.parametrize("damage", ["empty", "text", "cut short", "overwritten"])
def test_a_damaged_batch_is_named_with_what_to_do(damage: str, any_folder: StagingPath) -> None:
    write_batches(ListStream([text("n")], [[(f"anna{index}@example.com",) for index in range(5000)]]), any_folder)
    path = any_folder / "batch-00000.parquet"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"not parquet",
            "cut short": whole[: len(whole) // 2],
            "overwritten": whole[:20] + b"\x00" * 400 + whole[420:],
        }[damage]
    )

    with pytest.raises(StagingError, match="batch-00000.parquet cannot be read as Parquet") as caught:
        list(read_rows(path))

    assert "example.com" not in str(caught.value)


def test_rows_come_in_chunks_of_the_wanted_size(folder: StagingPath) -> None:
    write_batches(numbers(10), folder)

    sizes = [batch.num_rows for batch in read_record_batches(folder / "batch-00000.parquet", chunk_rows=4)]

    assert sizes == [4, 4, 2]


def test_a_reference_survives_json() -> None:
    ref = BatchRef(3, "s3://bucket/run/batch-00003.parquet", 17)

    assert BatchRef.from_dict(json.loads(json.dumps(ref.as_dict()))) == ref


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"index": 1, "path": "x"},
        {"index": "1", "path": "x", "rows": 2},
        {"index": 1, "path": None, "rows": 2},
        {"index": 1, "path": "x", "rows": 2, "more": 3},
    ],
)
def test_a_broken_reference_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="needs exactly index"):
        BatchRef.from_dict(values)
