"""Rows in the order of time and key: what passes, what is refused, where a watermark may stand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from MySQLdb.constants import FIELD_TYPE

from reverse_etl.errors import SourceError
from reverse_etl.incremental import Incremental, Position, Span
from reverse_etl.redaction import KeyHasher
from reverse_etl.staging.batches import write_batches
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.ordered import OrderedRows, place_before
from reverse_etl.staging.source import Row
from tests.staging.streams import ListStream, number, of_type

INCREMENTAL = Incremental("updated_at", "id", timedelta(minutes=10))
COLUMNS = [number("id"), of_type("updated_at", FIELD_TYPE.DATETIME)]
HASHER = KeyHasher("a secret of the tests, 32 letters")


def at(second: int) -> datetime:
    """A time as the driver gives it."""
    return aware(second).replace(tzinfo=None)


def aware(second: int) -> datetime:
    return datetime(2026, 1, 13, 8, 0, second, tzinfo=UTC)


def ordered(*chunks: Sequence[Row], span: Span | None = None) -> OrderedRows:
    return OrderedRows(ListStream(COLUMNS, chunks), INCREMENTAL, span or Span())


def test_a_row_later_than_the_latest_there_may_be_is_refused() -> None:
    stream = ListStream(COLUMNS, [[(1, at(5))], [(2, at(5)), (3, at(6))]])
    rows = iter(OrderedRows(stream, INCREMENTAL, Span(), latest=aware(5)))
    assert list(next(rows)) == [(1, at(5))]
    with pytest.raises(SourceError, match="column updated_at of a row lies in the future"):
        next(rows)


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([[(1, at(2)), (2, at(1))]], "do not come in the order of updated_at, id; end it with ORDER BY updated_at, id"),
        ([[(1, at(2))], [(2, at(1))]], "do not come in the order"),
        ([[(2, at(1)), (1, at(1))]], "do not come in the order"),
        ([[(1, at(1)), (1, at(1))]], "two rows with the same updated_at and id"),
        ([[(1, at(1))], [(1, at(1))]], "two rows with the same updated_at and id"),
        ([[(1, None)]], r"column updated_at is NULL .* COALESCE\(updated_at, \.\.\.\)"),
        ([[(1, at(1)), (2, None)]], "column updated_at is NULL"),
        ([[(1, at(1)), (None, at(2))]], "column id is NULL"),
        ([[(1, at(1))], [(None, at(2))]], "column id is NULL"),
        ([[("a", at(1))]], "have values of the types datetime and str; CAST them"),
    ],
)
def test_rows_without_order_are_refused(chunks: list[list[Row]], message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        list(ordered(*chunks))
    assert "2026" not in str(caught.value)


@pytest.mark.parametrize(
    ("after", "first"),
    [
        (Position(aware(5), None), (9, at(5))),
        (Position(aware(5), 7), (7, at(5))),
        (Position(aware(5), 7), (8, at(4))),
    ],
)
def test_rows_from_before_the_watermark_are_refused(after: Position, first: Row) -> None:
    with pytest.raises(SourceError, match=r"rows from before the place it was given; write: updated_at >= %\(after_t"):
        list(ordered([first], span=Span(after)))


def test_rows_from_after_the_end_are_refused() -> None:
    with pytest.raises(SourceError, match=r"after the end it was given; write: updated_at < %\(before_time\)s"):
        list(ordered([(1, at(4)), (2, at(5))], span=Span(before=aware(5))))


def test_many_rows_of_one_time_and_their_borders_pass() -> None:
    rows = [(key, at(1)) for key in range(-3, 4)]
    stream = ordered(rows[:3], rows[3:], [(0, at(2))], span=Span(Position(aware(1), -4), aware(3)))
    assert [row for chunk in stream for row in chunk] == [*rows, (0, at(2))]
    assert (stream.first, stream.last) == (Position(aware(1), -3), Position(aware(2), 0))
    stream.close()


def test_no_rows_have_no_place() -> None:
    stream = ordered()
    assert list(stream) == []
    assert (stream.first, stream.last) == (None, None)


def test_a_date_stands_for_its_midnight() -> None:
    columns = [number("id"), of_type("updated_at", FIELD_TYPE.DATE)]
    stream = OrderedRows(ListStream(columns, [[(1, date(2026, 1, 13)), (2, date(2026, 1, 13))]]), INCREMENTAL, Span())
    list(stream)
    assert stream.last == Position(datetime(2026, 1, 13, tzinfo=UTC), 2)


@pytest.mark.parametrize(
    ("undelivered", "last"),
    [((), 5), ((1,), None), ((3,), 2), ((5, 4), 3), ((2, 5), 1)],
)
def test_the_place_before_the_first_row_not_delivered(
    any_folder: StagingPath, undelivered: tuple[int, ...], last: int | None
) -> None:
    refs = write_batches(ordered([(key, at(key)) for key in range(1, 6)]), any_folder, batch_rows=2)
    paths = [any_folder / f"batch-{ref.index:05d}.parquet" for ref in refs]
    hashes = {HASHER((key,)) for key in undelivered}
    place = place_before(paths, INCREMENTAL, ("id",), HASHER, hashes)
    assert place == (None if last is None else Position(aware(last), last))
    assert len(paths) == 3
