"""The rows of a run as one CSV file that is safe to open in a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, types

from reverse_etl.errors import StagingError
from reverse_etl.staging.batches import BatchRef, read_record_batches, read_schema
from reverse_etl.staging.files import StagingPath, write_atomically

_CHUNK_ROWS = 10_000
# What a spreadsheet may take as the start of a formula
# (https://owasp.org/www-community/attacks/CSV_Injection): = + - @, their full-width forms, and control
# characters.
_FORMULA = r"\A[=+\-@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}\x00-\x1f\x7f-\x{9f}]"

_Render: TypeAlias = "Callable[[pa.Array[Any]], pa.Array[Any]]"


def export_csv(
    batches: Sequence[BatchRef], folder: StagingPath, target: StagingPath, *, neutralise: bool = True
) -> int:
    """Write the rows of the batches in `folder` to the CSV file `target` and return their number.

    UTF-8 with a header, also for no rows. NULL is an empty cell, an empty text is `""`. Times are ISO 8601
    with their offset, TIME values `[-]HH:MM:SS[.ffffff]`, binary values hexadecimal. With `neutralise`, a
    text that a spreadsheet could take for a formula gets an apostrophe in front; numbers and times stay as
    they are. The file appears under its name only when it is complete.

    Raises StagingError when a batch is missing, damaged or of another size than its reference says, and when
    the file cannot be written.
    """
    schema = read_schema(folder)
    renders = [_render(field.type, neutralise=neutralise) for field in schema]
    columns = pa.schema(
        [
            pa.field(_header(field.name, neutralise=neutralise), render(pa.array([], field.type)).type)
            for field, render in zip(schema, renders, strict=True)
        ]
    )
    with write_atomically(target) as handle, csv.CSVWriter(handle, columns) as writer:
        for ref in batches:
            for batch in _checked(ref, folder):
                cells = [render(values) for render, values in zip(renders, batch.columns, strict=True)]
                writer.write_batch(pa.RecordBatch.from_arrays(cells, schema=columns))
    return sum(ref.rows for ref in batches)


def _checked(ref: BatchRef, folder: StagingPath) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a reference and refuse, at the end, a file of another size."""
    path = folder / PurePosixPath(ref.path).name
    rows = 0
    for batch in read_record_batches(path, chunk_rows=_CHUNK_ROWS):
        rows += batch.num_rows
        yield batch
    if rows != ref.rows:
        raise StagingError(
            f"{path} holds {rows} rows where its reference says {ref.rows}; "
            "it belongs to another try: run the extract task again"
        )


def _header(name: str, *, neutralise: bool) -> str:
    return str(_neutralise(pa.array([name]))[0]) if neutralise else name


def _render(kind: pa.DataType, *, neutralise: bool) -> _Render:
    if types.is_large_string(kind):
        return _neutralise if neutralise else _as_is
    if types.is_large_binary(kind):
        return _hexadecimal
    if types.is_timestamp(kind):
        return _timestamp
    if types.is_duration(kind):
        return _time
    return _as_is


def _as_is(values: pa.Array[Any]) -> pa.Array[Any]:
    return values


def _neutralise(values: pa.Array[Any]) -> pa.Array[Any]:
    return pc.replace_substring_regex(values, pattern=_FORMULA, replacement=r"'\0", max_replacements=1)


def _hexadecimal(values: pa.Array[Any]) -> pa.Array[Any]:
    texts = [None if value is None else value.hex() for value in values.to_pylist()]
    return pa.array(texts, pa.large_string())


def _timestamp(values: pa.Array[Any]) -> pa.Array[Any]:
    # Without a time zone, since Arrow would look for the host's time zone files.
    moments: pa.Array[Any] = values.cast(pa.int64()).cast(pa.timestamp("us"))
    texts = pc.strftime(moments, format="%Y-%m-%dT%H:%M:%S+00:00")
    return pc.replace_substring_regex(texts, pattern=r"\.0+\+", replacement="+")


def _time(values: pa.Array[Any]) -> pa.Array[Any]:
    moments = values.cast(pa.int64()).to_pylist()
    return pa.array([None if moment is None else _clock(moment) for moment in moments], pa.string())


def _clock(microseconds: int) -> str:
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    text = f"{'-' if microseconds < 0 else ''}{hour:02d}:{minute:02d}:{second:02d}"
    return f"{text}.{fraction:06d}" if fraction else text
