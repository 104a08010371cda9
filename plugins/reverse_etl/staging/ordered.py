"""Rows that must come in the order of their watermark columns: checked as they pass, found again in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from reverse_etl.errors import SourceError
from reverse_etl.incremental import LATEST, Incremental, Position, Span
from reverse_etl.redaction import KeyHasher, key_of
from reverse_etl.staging.batches import read_rows
from reverse_etl.staging.columns import SourceColumn
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.source import Row, RowStream


class OrderedRows:
    """A RowStream over `stream` that refuses rows which are not in order, not within `span`, or later than `latest`.

    `first` and `last` are the positions of the rows passed on so far. Raises what the stream raises, and SourceError
    for a NULL in one of the two columns, two rows at one position, and a row where none may be.
    """

    def __init__(self, stream: RowStream, incremental: Incremental, span: Span, *, latest: datetime = LATEST) -> None:
        self._stream = stream
        self._incremental = incremental
        names = [column.name for column in stream.columns]
        self._places = [names.index(column) for column in incremental.columns()]
        self._span = span
        self._latest = latest
        self.first: Position | None = None
        self.last: Position | None = None

    @property
    def columns(self) -> tuple[SourceColumn, ...]:
        """The columns of the stream."""
        return self._stream.columns

    def __iter__(self) -> Iterator[tuple[Row, ...]]:
        """Yield the chunks of the stream."""
        before: Row | None = None
        for chunk in self._stream:
            if before is None:
                self.first = self._checked_first(chunk[0])
            self._check_order(chunk if before is None else (before, *chunk))
            before = chunk[-1]
            self.last = self._checked_last(before)
            yield chunk

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _check_order(self, rows: Sequence[Row]) -> None:
        """Compare the values as the driver gives them: making a position of each would cost three times as much."""
        time_at, key_at = self._places
        last_time: Any
        last_key: Any
        last_time, last_key = rows[0][time_at], rows[0][key_at]
        for row in rows[1:]:
            when: Any = row[time_at]
            key: Any = row[key_at]
            if when is None or key is None:
                raise _no_place(self._incremental, when)
            if when < last_time or (when == last_time and key <= last_key):
                raise self._out_of_order(same=(when, key) == (last_time, last_key))
            last_time, last_key = when, key

    def _checked_first(self, row: Row) -> Position:
        first, after = self._position(row), self._span.after
        if after is not None and not is_after(first, after):
            column, key = self._incremental.columns()
            raise SourceError(
                f"the query gives rows from before the place it was given; write: {column} >= %(after_time)s "
                f"AND ({column} > %(after_time)s OR {key} > %(after_key)s)"
            )
        return first

    def _checked_last(self, row: Row) -> Position:
        last, before = self._position(row), self._span.before
        if before is not None and last.time >= before:
            column = self._incremental.column
            raise SourceError(
                f"the query gives rows from after the end it was given; write: {column} < %(before_time)s"
            )
        if last.time > self._latest:
            column = self._incremental.column
            raise SourceError(
                f"column {column} of a row lies in the future, and the watermark would wait there while rows with "
                f"earlier times are left out; correct the row, or leave it out: {column} < UTC_TIMESTAMP()"
            )
        return last

    def _position(self, row: Row) -> Position:
        return _position(self._incremental, *(row[place] for place in self._places))

    def _out_of_order(self, *, same: bool) -> SourceError:
        column, key = self._incremental.columns()
        if same:
            return SourceError(
                f"the query gives two rows with the same {column} and {key}, so nobody could say which was read; "
                "choose an Incremental.key that tells them apart"
            )
        return SourceError(
            f"the rows of the query do not come in the order of {column}, {key}; end it with ORDER BY {column}, {key}"
        )


def is_after(position: Position, other: Position) -> bool:
    """Return whether a row's position comes after another; a key of None stands behind all rows of its time."""
    if position.time != other.time:
        return position.time > other.time
    return position.key is not None and other.key is not None and position.key > other.key


def place_before(
    batches: Iterable[StagingPath],
    incremental: Incremental,
    key: Sequence[str],
    hash_key: KeyHasher,
    undelivered: Collection[str],
) -> Position | None:
    """Return the position of the row before the first with a hashed key in `undelivered`, None where none is before it.

    `batches` are consecutive ones of a run. Raises StagingError.
    """
    before: Row = ()
    for path in batches:
        for rows in read_rows(path):
            for row in rows:
                if hash_key(key_of(row, key)) in undelivered:
                    return _position(incremental, *before) if before else None
                before = (row[incremental.column], row[incremental.key])
    return _position(incremental, *before) if before else None


def _position(incremental: Incremental, when: object, key: object) -> Position:
    if when is None or key is None:
        raise _no_place(incremental, when)
    if not isinstance(key, int) or not isinstance(when, date):
        raise SourceError(
            f"columns {incremental.column} and {incremental.key} have values of the types "
            f"{type(when).__name__} and {type(key).__name__}; CAST them in the query"
        )
    if not isinstance(when, datetime):
        when = datetime.combine(when, time.min)
    return Position(when if when.tzinfo else when.replace(tzinfo=UTC), key)


def _no_place(incremental: Incremental, when: object) -> SourceError:
    column = incremental.column if when is None else incremental.key
    return SourceError(
        f"column {column} is NULL in a row of the query, so the row has no place in the order; "
        f"leave such rows out, or fill them in: COALESCE({column}, ...) AS {column}"
    )
