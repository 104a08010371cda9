"""Row results as Parquet: written while a batch is delivered, read again by the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from reverse_etl.delivery.outcomes import CallResult, Outcome, RowResult
from reverse_etl.errors import StagingError
from reverse_etl.staging.files import StagingPath, write_atomically

ROWS_HELD = 2_000

CALL = pa.struct(
    [
        ("call", pa.string()),
        ("outcome", pa.string()),
        ("code", pa.string()),
        ("status", pa.int16()),
        ("tries", pa.int32()),
        ("request_id", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
        pa.field("calls", pa.list_(CALL), nullable=False),
    ]
)


class ResultWriter:
    """Collects row results and writes them some thousands at a time."""

    def __init__(self, parquet: pq.ParquetWriter) -> None:
        self._parquet = parquet
        self._held: list[RowResult] = []

    def add(self, result: RowResult) -> None:
        """Take one result."""
        self._held.append(result)
        if len(self._held) >= ROWS_HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            self._parquet.write_batch(_record_batch(self._held))
            self._held.clear()


@contextmanager
def writing_results(target: StagingPath) -> Iterator[ResultWriter]:
    """Open `target` for row results; the file appears when the block ends without an error."""
    with write_atomically(target) as handle, pq.ParquetWriter(handle, SCHEMA, compression="zstd") as parquet:
        writer = ResultWriter(parquet)
        yield writer
        writer.flush()


def read_results(source: StagingPath) -> Iterator[RowResult]:
    """Yield the row results of a file; raise StagingError when it is missing or damaged."""
    try:
        with source.fs.open(source.path, "rb") as handle:
            for batch in pq.ParquetFile(handle).iter_batches(batch_size=ROWS_HELD):
                yield from map(_row_result, batch.to_pylist())
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise StagingError(
            f"the row results {source} cannot be read ({type(error).__name__}); "
            "clear the deliver task to make them again"
        ) from None


def _record_batch(results: Sequence[RowResult]) -> pa.RecordBatch:
    """Return the results column by column: a dictionary per row takes five times as long, and the event loop waits.

    The calls of a request mostly share one result, so each is converted once.
    """
    offsets = [0]
    calls: list[CallResult] = []
    for result in results:
        calls += result.calls
        offsets.append(len(calls))
    distinct = {id(call): call for call in calls}
    place_of = dict(zip(distinct, range(len(distinct)), strict=True))
    values = [pa.array([getattr(call, field.name) for call in distinct.values()], field.type) for field in CALL]
    places = pa.array([place_of[id(call)] for call in calls], pa.int32())
    return pa.record_batch(
        [
            pa.array([result.key for result in results]),
            pa.array([result.outcome for result in results]),
            pa.array([result.code for result in results]),
            pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(values, fields=list(CALL)).take(places)),
        ],
        schema=SCHEMA,
    )


def _row_result(values: dict[str, object]) -> RowResult:
    calls = values["calls"]
    if not isinstance(calls, list):
        raise StagingError("a row result has no list of calls; clear the deliver task to make the results again")
    return RowResult(
        key=str(values["key"]),
        outcome=Outcome(str(values["outcome"])),
        code=str(values["code"]),
        calls=tuple(CallResult(**{**call, "outcome": Outcome(call["outcome"])}) for call in calls),
    )
