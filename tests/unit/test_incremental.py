from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.incremental import EARLIEST, LATEST, Incremental, Position, Span, days_between, window_of
from reverse_etl.run_day import RunDay

NOON = datetime(2026, 1, 13, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
TEN = timedelta(minutes=10)
KINDS = {"updated_at": "datetime", "changed_on": "date", "id": "integer", "code": "text"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"column": ""}, r"Incremental\.column is '', expected a column name"),
        ({"key": None}, r"Incremental\.key is None, expected a column name"),
        ({"key": "updated_at"}, r"Incremental\.key is 'updated_at' like the column"),
        ({"overlap": 600}, r"Incremental\.overlap is 600, expected a timedelta of 0 or more, such as"),
        ({"overlap": -TEN}, r"Incremental\.overlap is .*, expected a timedelta of 0 or more"),
        ({"start": NOON.replace(tzinfo=None)}, r"Incremental\.start is .*, expected a datetime with a time zone"),
        ({"start": "2026-01-01"}, r"Incremental\.start is '2026-01-01', expected a datetime"),
    ],
)
def test_a_bad_one_is_refused_when_it_is_built(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Incremental(**{"column": "updated_at", "key": "id", "overlap": TEN, **changes})


@pytest.mark.parametrize(
    ("columns", "overlap", "message"),
    [
        (("code", "id"), TEN, r"column code holds text, but Incremental\.column needs datetime or date"),
        (("updated_at", "code"), TEN, r"column code holds text, but Incremental\.key needs integer"),
        (("changed_on", "id"), TEN, "column changed_on holds dates, .* give Incremental an overlap of a day or more"),
    ],
)
def test_columns_that_give_no_order_are_refused(columns: tuple[str, str], overlap: timedelta, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Incremental(*columns, overlap).check_kinds(KINDS)


def test_dates_with_an_overlap_of_a_day_are_accepted() -> None:
    Incremental("changed_on", "id", timedelta(days=1)).check_kinds(KINDS)
    Incremental("updated_at", "id", timedelta(0)).check_kinds(KINDS)


@pytest.mark.parametrize(
    ("overlap", "watermark", "after"),
    [
        pytest.param(timedelta(0), Position(NOON, 7), Position(NOON, 7), id="no overlap: right behind the row"),
        pytest.param(
            TEN, Position(NOON, 7), Position(NOON - TEN - TICK, None), id="from the overlap's first moment on"
        ),
        pytest.param(TEN, None, None, id="no watermark: everything"),
        pytest.param(TEN, Position(EARLIEST, 7), Position(EARLIEST, None), id="never before MySQL's first moment"),
    ],
)
def test_a_run_reads_from_the_overlap_before_the_watermark(
    overlap: timedelta, watermark: Position | None, after: Position | None
) -> None:
    assert Incremental("updated_at", "id", overlap).after(watermark) == after


def test_the_first_run_reads_from_the_start_in_any_time_zone() -> None:
    start = datetime(2026, 1, 13, 14, tzinfo=timezone(timedelta(hours=2)))
    incremental = Incremental("updated_at", "id", TEN, start=start)
    assert incremental.after(None) == Position(NOON - TICK, None)
    assert incremental.after(Position(EARLIEST, 1)) == Position(EARLIEST, None)


def test_a_span_without_ends_has_those_of_a_datetime() -> None:
    assert Span().sql_parameters() == {"after_time": EARLIEST, "after_key": None, "before_time": LATEST}


def test_days_are_a_span_or_a_window() -> None:
    day = date(2026, 1, 13)
    midnight = datetime(2026, 1, 14, tzinfo=UTC)
    incremental = Incremental("updated_at", "id", TEN)
    assert window_of(None, day, 2) == RunDay(day, 2)
    assert window_of(incremental, day, 2) == Span(Position(midnight - timedelta(days=2) - TICK, None), midnight)
    assert window_of(incremental, day, 5000).sql_parameters()["before_time"] == midnight


def test_days_that_hold_two_moments() -> None:
    assert days_between(NOON, NOON) == (date(2026, 1, 13), 1)
    assert days_between(NOON - timedelta(hours=13), NOON) == (date(2026, 1, 13), 2)
