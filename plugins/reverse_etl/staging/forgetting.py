"""Rows taken out of staged files, exports and results; a file is replaced as a whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from reverse_etl.errors import StagingError
from reverse_etl.staging.files import StagingPath, write_atomically
from reverse_etl.staging.people import RowsAbout

_CHUNK_ROWS = 5_000
_RECORD = b'    {"key":'
_CELL = re.compile(rb'(?:\A|,)(?:"(?P<quoted>[^"]*(?:""[^"]*)*)"|(?P<plain>[^,"]*))')

Hashes = frozenset[str]


def rows_in_batch(path: StagingPath, about: RowsAbout) -> list[Hashes]:
    """Return the hashes of each row of a Parquet file that is about the person."""
    with _parquet(path) as file:
        columns = about.columns(file.schema_arrow.names)
        batches = file.iter_batches(batch_size=_CHUNK_ROWS, columns=columns)
        return [hashes for batch in batches for hashes in about.in_batch(batch) if hashes is not None]


def drop_from_batch(path: StagingPath, about: RowsAbout) -> int:
    """Write a Parquet file anew without the rows about the person; return how many they were."""

    def stays(batch: pa.RecordBatch) -> list[bool]:
        seen = batch.select(about.columns(batch.schema.names))
        return [hashes is None for hashes in about.in_batch(seen)]

    return _drop_from_parquet(path, stays)


def rows_in_results(path: StagingPath, hashes: Collection[str]) -> int:
    """Return how many row results of a Parquet file have one of the hashed keys."""
    with _parquet(path) as file:
        batches = file.iter_batches(batch_size=_CHUNK_ROWS, columns=["key"])
        return sum(key in hashes for batch in batches for key in batch.column("key").to_pylist())


def drop_from_results(path: StagingPath, hashes: Collection[str]) -> int:
    """Write a Parquet file of row results anew without those of the hashed keys; return how many they were."""
    return _drop_from_parquet(path, lambda batch: [key not in hashes for key in batch.column("key").to_pylist()])


def rows_in_csv(path: StagingPath, about: RowsAbout) -> list[Hashes]:
    """Return the hashes of each row of an export that is about the person."""
    with _opened(path) as read:
        return [hashes for _, hashes in _csv_rows(read, about) if hashes is not None]


def drop_from_csv(path: StagingPath, about: RowsAbout) -> int:
    """Write an export anew without the rows about the person, the others byte for byte; return how many they were."""
    dropped = 0
    with _opened(path) as read, write_atomically(path) as written:
        for record, hashes in _csv_rows(read, about):
            dropped += hashes is not None
            if hashes is None:
                written.write(record)
    return dropped


def records_in_json(path: StagingPath, hashes: Collection[str]) -> int:
    """Return how many records of a result's JSON have one of the hashed keys."""
    with _opened(path) as read:
        return sum(_is_record_of(line, hashes) for line in read)


def drop_from_json(path: StagingPath, hashes: Collection[str]) -> int:
    """Write a result's JSON anew without the records of the hashed keys; return how many they were."""
    dropped = kept = 0
    with _opened(path) as read, write_atomically(path) as written:
        for line in read:
            if _is_record_of(line, hashes):
                dropped += 1
            elif line.startswith(_RECORD):
                written.write((b",\n" if kept else b"") + line.rstrip(b",\n"))
                kept += 1
            else:
                # The line after the records: theirs ended without a line end, because a comma might have followed.
                written.write((b"\n" if kept and not line.strip(b" ,]\n") else b"") + line)
    return dropped


def _is_record_of(line: bytes, hashes: Collection[str]) -> bool:
    return line.startswith(_RECORD) and orjson.loads(line.rstrip(b",\n"))["key"] in hashes


def _csv_rows(lines: Iterable[bytes], about: RowsAbout) -> Iterator[tuple[bytes, Hashes | None]]:
    records = _records(lines)
    first = next(records, b"")
    header = _cells(first)
    yield first, None
    for record in records:
        yield record, about.in_cells(header, _cells(record))


def _records(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole records: a quoted cell may hold line ends."""
    held = b""
    for line in lines:
        held += line
        if held.count(b'"') % 2 == 0:
            yield held
            held = b""
    if held:
        yield held


def _cells(record: bytes) -> Sequence[str]:
    """Return the cells of a record; the csv module refuses cells of more than 128 KB."""
    cells = (plain if quoted is None else quoted.replace(b'""', b'"') for quoted, plain in _split(record))
    return [cell.decode("utf-8") for cell in cells]


def _split(record: bytes) -> Iterator[tuple[bytes | None, bytes]]:
    for cell in _CELL.finditer(record.rstrip(b"\n")):
        yield cell["quoted"], cell["plain"]


def _drop_from_parquet(path: StagingPath, stays: Callable[[pa.RecordBatch], list[bool]]) -> int:
    before = after = 0
    with (
        _parquet(path) as file,
        write_atomically(path) as handle,
        pq.ParquetWriter(handle, file.schema_arrow, compression="zstd") as written,
    ):
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            batches = table.to_batches(max_chunksize=_CHUNK_ROWS)
            kept = pa.Table.from_batches([batch.filter(pa.array(stays(batch))) for batch in batches], table.schema)
            before, after = before + table.num_rows, after + kept.num_rows
            written.write_table(kept)
    return before - after


@contextmanager
def _parquet(path: StagingPath) -> Iterator[pq.ParquetFile]:
    with _opened(path) as handle:
        try:
            yield pq.ParquetFile(handle)
        except pa.ArrowException as error:
            raise StagingError(
                f"{path} cannot be read as Parquet ({type(error).__name__}); it is damaged: remove it, then purge again"
            ) from None


@contextmanager
def _opened(path: StagingPath) -> Iterator[IO[bytes]]:
    try:
        with path.fs.open(path.path, "rb") as handle:
            yield handle
    except OSError as error:
        raise StagingError(
            f"{path} cannot be read ({error.strerror or type(error).__name__}); check its storage, then purge again"
        ) from None
