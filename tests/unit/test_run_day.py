from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.run_day import RunDay, resolve_day

TODAY = date(2026, 1, 15)
NOW = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)


def midnight(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


@pytest.mark.parametrize("asked", ["13.01.2026", "2026-13-01", "yesterday", ""])
def test_a_text_that_is_no_day_is_refused_with_an_example(asked: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a day such as 2026-01-13"):
        resolve_day(asked, logical_date=None, run_after=NOW, today=TODAY)


def test_a_day_in_the_future_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="2026-01-16, which is in the future"):
        resolve_day("2026-01-16", logical_date=None, run_after=NOW, today=TODAY)


@pytest.mark.parametrize("days", [0, -1, 367])
def test_a_window_out_of_range_is_refused(days: int) -> None:
    with pytest.raises(ConfigurationError, match=f"window_days is {days}"):
        RunDay(date(2026, 1, 13), days)


def test_a_day_long_ago_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected a day from 1970 on"):
        RunDay(date(1, 1, 3))


@pytest.mark.parametrize(
    ("asked", "logical_date", "run_after", "expected"),
    [
        pytest.param(None, midnight(13), midnight(14), date(2026, 1, 13), id="scheduled run: the day that just ended"),
        pytest.param(None, midnight(2), midnight(3), date(2026, 1, 2), id="backfill: the day of its range"),
        pytest.param(None, NOW, NOW, date(2026, 1, 14), id="UI, which sends the present moment: yesterday"),
        pytest.param(None, None, NOW, date(2026, 1, 14), id="REST and CLI without a logical date: yesterday"),
        pytest.param(None, midnight(13), NOW, date(2026, 1, 13), id="a logical date in the past: that day"),
        pytest.param("2026-01-12", NOW, NOW, date(2026, 1, 12), id="the date param wins"),
        pytest.param("2026-01-15", None, NOW, TODAY, id="the day that has not ended yet, when asked for"),
        pytest.param(date(2026, 1, 12), None, NOW, date(2026, 1, 12), id="a date object"),
        pytest.param(
            None,
            None,
            datetime(2026, 1, 15, 1, 0, tzinfo=timezone(timedelta(hours=3))),
            date(2026, 1, 13),
            id="another zone: the UTC day counts",
        ),
    ],
)
def test_every_kind_of_run_handles_its_day(
    asked: str | date | None, logical_date: datetime | None, run_after: datetime, expected: date
) -> None:
    assert resolve_day(asked, logical_date=logical_date, run_after=run_after, today=TODAY) == expected


def test_the_window_ends_with_the_end_of_the_day() -> None:
    run_day = RunDay(date(2026, 1, 13))
    assert run_day.sql_parameters() == {"window_start": midnight(7), "window_end": midnight(14)}
    assert run_day.stamp == "20260113_235959"


def test_a_window_over_a_leap_day_has_its_length() -> None:
    run_day = RunDay(date(2028, 3, 1), 2)
    assert run_day.window_start == datetime(2028, 2, 29, tzinfo=UTC)
