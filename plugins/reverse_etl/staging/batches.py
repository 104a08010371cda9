"""Batches: Parquet files of a fixed number of rows, the unit of mapping, of retry and of resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from reverse_etl.errors import ConfigurationError, StagingError
from reverse_etl.staging.columns import arrow_schema, record_batch
from reverse_etl.staging.files import StagingPath, remove_matching, write_atomically
from reverse_etl.staging.source import Row, RowStream

SCHEMA_FILE = "schema.parquet"
BATCH_BYTES = 64 * 1024**2
"""Bytes of rows in memory at which a batch ends although it has fewer rows than asked for."""
ROW_GROUP_BYTES = 8 * 1024**2
"""Bytes of rows that are read at once; normal batches are one group."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEFTOVERS = (SCHEMA_FILE, "batch-*.parquet", "no_consent-*.parquet")


@dataclass(frozen=True)
class BatchRef:
    """Where a batch lies: its place in the run from 0, its path, and how many rows it holds."""

    index: int
    path: str
    rows: int

    def as_dict(self) -> dict[str, int | str]:
        """Return the three fields as JSON values, for XCom."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """Build a reference from `as_dict()`; raises ConfigurationError for other fields or types."""
        index, path, rows = values.get("index"), values.get("path"), values.get("rows")
        if not (isinstance(index, int) and isinstance(path, str) and isinstance(rows, int)) or len(values) != 3:
            raise ConfigurationError("a batch reference needs exactly index (int), path (str) and rows (int)")
        return cls(index, path, rows)


def write_batches(
    stream: RowStream,
    folder: StagingPath,
    *,
    batch_rows: int = 10_000,
    row_limit: int | None = None,
    max_batches: int = 1000,
    watch: Callable[[Sequence[Row]], None] | None = None,
) -> list[BatchRef]:
    """Write the rows to `folder/batch-00000.parquet` and so on, `batch_rows` to a file, and close the stream.

    A file whose rows reach 64 MB has fewer.

    The schema is saved as `schema.parquet`, also when there is no row. Files of an earlier try are removed
    first. At most `row_limit` rows are read. About one batch is held in memory. `watch` is shown the
    rows, chunk by chunk.

    Raises ConfigurationError for a limit below 1, StagingError when a file cannot be written or more than
    `max_batches` (Airflow maps a task over 1,024 items) would be needed, and what the stream raises.
    """
    _check_limits(batch_rows=batch_rows, row_limit=row_limit, max_batches=max_batches)
    with closing(stream):
        schema = arrow_schema(stream.columns)
        remove_matching(folder, _LEFTOVERS)
        write_table(schema.empty_table(), folder / SCHEMA_FILE)
        refs: list[BatchRef] = []
        for index, table in enumerate(_tables(_limited(stream, row_limit, watch), schema, batch_rows)):
            if index == max_batches:
                raise ConfigurationError(
                    f"the query returns more than {max_batches} batches of {batch_rows} rows; raise batch_rows"
                )
            path = folder / f"batch-{index:05d}.parquet"
            write_table(table, path)
            refs.append(BatchRef(index, str(path), table.num_rows))
        return refs


def read_rows(path: StagingPath, *, chunk_rows: int = 1000) -> Iterator[list[dict[str, object]]]:
    """Yield the rows of a batch as lists of at most `chunk_rows` dicts; times are aware datetimes in UTC.

    Raises StagingError when the file is missing or cannot be read.
    """
    for batch in read_record_batches(path, chunk_rows=chunk_rows):
        names = batch.schema.names
        yield [dict(zip(names, row, strict=True)) for row in zip(*map(_values, batch.columns), strict=True)]


def read_record_batches(path: StagingPath, *, chunk_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a batch as record batches of at most `chunk_rows`; raises what `read_rows` raises."""
    with _reading(path) as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group).to_batches(max_chunksize=chunk_rows)


def read_columns(path: StagingPath, columns: Sequence[str]) -> pa.Table:
    """Return some columns of a batch, in the order asked for; raises what `read_rows` raises."""
    with _reading(path) as file:
        return file.read(list(columns)).select(list(columns))


def _values(column: pa.Array[Any]) -> list[object]:
    """Return a column as Python values; those Arrow makes of moments itself take five times as long to make."""
    if column.type != pa.timestamp("us", tz="UTC"):
        return column.to_pylist()
    moments = column.cast(pa.int64()).to_pylist()
    return [None if moment is None else _EPOCH + timedelta(microseconds=moment) for moment in moments]


def read_schema(folder: StagingPath) -> pa.Schema:
    """Return the schema that `write_batches` saved in the folder; raises what `read_rows` raises."""
    return schema_of(folder / SCHEMA_FILE)


def schema_of(path: StagingPath) -> pa.Schema:
    """Return the schema of a batch; raises what `read_rows` raises."""
    with _reading(path) as file:
        return file.schema_arrow


def _check_limits(**limits: int | None) -> None:
    for name, value in limits.items():
        if value is not None and value < 1:
            raise ConfigurationError(f"{name} must be at least 1, not {value}")


def _limited(
    stream: RowStream, row_limit: int | None, watch: Callable[[Sequence[Row]], None] | None
) -> Iterator[tuple[Row, ...]]:
    """Yield chunks until the limit is reached, without asking the source for one chunk more."""
    left = row_limit
    for chunk in stream:
        taken = chunk if left is None else chunk[:left]
        if watch is not None:
            watch(taken)
        yield taken
        if left is not None:
            left -= len(taken)
            if left <= 0:
                return


def _tables(chunks: Iterator[tuple[Row, ...]], schema: pa.Schema, batch_rows: int) -> Iterator[pa.Table]:
    """Yield tables of exactly `batch_rows` rows, the last one shorter, and those with very large rows too."""
    held = schema.empty_table()
    for chunk in chunks:
        held = pa.concat_tables([held, pa.Table.from_batches([record_batch(chunk, schema)])])
        while held.num_rows >= batch_rows:
            yield held.slice(0, batch_rows)
            held = held.slice(batch_rows)
        if held.nbytes >= BATCH_BYTES:
            yield held
            held = schema.empty_table()
    if held.num_rows:
        yield held


def write_table(table: pa.Table, path: StagingPath) -> None:
    """Write a batch as one file, atomically; raises StagingError."""
    groups = max(1, table.nbytes // ROW_GROUP_BYTES)
    with write_atomically(path) as handle:
        pq.write_table(table, handle, compression="zstd", row_group_size=max(1, table.num_rows // groups))


@contextmanager
def _reading(path: StagingPath) -> Iterator[pq.ParquetFile]:
    try:
        with path.fs.open(path.path, "rb") as handle:
            yield pq.ParquetFile(handle)
    except FileNotFoundError:
        raise StagingError(f"{path} is missing; run the extract task again to write it") from None
    except (OSError, pa.ArrowException) as error:
        raise StagingError(
            f"{path} cannot be read as Parquet ({type(error).__name__}); it is damaged or not reachable: "
            "check its storage, then run the extract task again to write it anew"
        ) from None
