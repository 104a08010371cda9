"""The UTC day a run handles, and the window of source rows that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from reverse_etl.errors import ConfigurationError

LONGEST_WINDOW_DAYS = 366
EARLIEST_YEAR = 1970


@dataclass(frozen=True, slots=True)
class RunDay:
    """One UTC day and the window of `window_days` days that ends with the end of that day."""

    day: date
    window_days: int = 7

    def __post_init__(self) -> None:
        if self.day.year < EARLIEST_YEAR:
            raise ConfigurationError(f"date is {self.day}, expected a day from {EARLIEST_YEAR} on")
        if not 1 <= self.window_days <= LONGEST_WINDOW_DAYS:
            raise ConfigurationError(
                f"window_days is {self.window_days}, expected a whole number from 1 to {LONGEST_WINDOW_DAYS}"
            )

    @property
    def window_end(self) -> datetime:
        """The first instant after the day; rows before it are in."""
        return datetime.combine(self.day, time.min, tzinfo=UTC) + timedelta(days=1)

    @property
    def window_start(self) -> datetime:
        """The first instant of the window; a row at this instant is in."""
        return self.window_end - timedelta(days=self.window_days)

    @property
    def stamp(self) -> str:
        """The last second of the day as YYYYMMDD_HHMMSS, for file names."""
        return (self.window_end - timedelta(seconds=1)).strftime("%Y%m%d_%H%M%S")

    def sql_parameters(self) -> dict[str, datetime]:
        """Return the bounds under the names the queries use."""
        return {"window_start": self.window_start, "window_end": self.window_end}


def resolve_day(asked: str | date | None, *, logical_date: datetime | None, run_after: datetime, today: date) -> date:
    """Return the UTC day a run handles.

    `asked` is the `date` parameter (ISO text or date) and wins. Without it the day is that of the logical date, but
    never a day that had not ended when the run was due (`run_after`): the scheduled run of 2026-01-13 has that logical
    date and is due the day after; the trigger form of the UI sends the present moment, and REST and CLI send no
    logical date at all, so these three mean yesterday.
    """
    if asked is not None:
        day = _parse_day(asked)
        if day > today:
            raise ConfigurationError(f"date is {day}, which is in the future; today is {today} (UTC)")
        return day
    last_ended_day = (run_after.astimezone(UTC) - timedelta(days=1)).date()
    if logical_date is None:
        return last_ended_day
    return min(logical_date.astimezone(UTC).date(), last_ended_day)


def day_on_request(asked: str | None, now: datetime) -> date:
    """Return the UTC day somebody asks for at the moment `now`, yesterday where they name none; as `resolve_day`."""
    return resolve_day(asked, logical_date=None, run_after=now, today=now.date())


def _parse_day(asked: str | date) -> date:
    if isinstance(asked, date):
        return asked
    try:
        return date.fromisoformat(asked)
    except ValueError:
        raise ConfigurationError(f"date is {asked!r}, expected a day such as 2026-01-13") from None
