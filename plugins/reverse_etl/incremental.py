"""Reading only what is new: which columns order the rows, and from where to where a run reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from reverse_etl.errors import ConfigurationError
from reverse_etl.run_day import RunDay

PARAMETERS = ("after_time", "after_key", "before_time")
"""What the query of such a sync is given, all of which it must use."""

EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The ends of MySQL's DATETIME."""

SHORTEST_OVERLAP_OF_DATES = timedelta(days=1)

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Incremental:
    """Rows are read in the order of (`column`, `key`), each run from where the deliveries before it ended.

    `column` says when a row last changed: a DATETIME, TIMESTAMP or DATE. `key` is an integer that tells rows of the
    same time apart. `overlap` is how far back each run reads again, for transactions that were committed late; 0 only
    where none can be. `start` is an aware moment before which the first run reads nothing; None: it reads everything.
    """

    column: str
    key: str
    overlap: timedelta
    start: datetime | None = None

    def __post_init__(self) -> None:
        for name, value in (("column", self.column), ("key", self.key)):
            if not isinstance(value, str) or not value:
                raise ConfigurationError(f"Incremental.{name} is {value!r}, expected a column name")
        if self.column == self.key:
            raise ConfigurationError(f"Incremental.key is {self.key!r} like the column, expected an integer column")
        if not isinstance(self.overlap, timedelta) or self.overlap < timedelta(0):
            raise ConfigurationError(
                f"Incremental.overlap is {self.overlap!r}, expected a timedelta of 0 or more, "
                "such as timedelta(minutes=10)"
            )
        if self.start is not None and (not isinstance(self.start, datetime) or self.start.utcoffset() is None):
            raise ConfigurationError(
                f"Incremental.start is {self.start!r}, expected a datetime with a time zone, such as UTC"
            )

    def columns(self) -> tuple[str, str]:
        """Return the two columns."""
        return (self.column, self.key)

    def check_kinds(self, kinds: Mapping[str, str]) -> None:
        """Raise ConfigurationError when a column has a type that gives no order, or too rough a one."""
        kind = kinds[self.column]
        if kind not in ("datetime", "date"):
            raise ConfigurationError(
                f"column {self.column} holds {kind}, but Incremental.column needs datetime or date; "
                "cast it in the query"
            )
        if kind == "date" and self.overlap < SHORTEST_OVERLAP_OF_DATES:
            raise ConfigurationError(
                f"column {self.column} holds dates, so a row changed later on a day that was read would be missed; "
                "give Incremental an overlap of a day or more"
            )
        if kinds[self.key] != "integer":
            raise ConfigurationError(
                f"column {self.key} holds {kinds[self.key]}, but Incremental.key needs integer: "
                "the order of texts depends on their collation"
            )

    def after(self, watermark: Position | None) -> Position | None:
        """Return the position after which a run reads: the overlap before the watermark, or the first run's start."""
        if watermark is not None:
            if not self.overlap:
                return watermark
            since_earliest = watermark.time - EARLIEST - self.overlap - _TICK
            return Position(EARLIEST + max(since_earliest, timedelta(0)), None)
        return None if self.start is None else Position(self.start.astimezone(UTC) - _TICK, None)


class Position(NamedTuple):
    """A place in the order of rows, aware UTC time and key; a key of None comes after all rows of that time."""

    time: datetime
    key: int | None


@dataclass(frozen=True, slots=True)
class Span:
    """The rows after a position and before a moment; None: from the first, to the last."""

    after: Position | None = None
    before: datetime | None = None

    @classmethod
    def of_days(cls, last: date, days: int) -> Span:
        """Return the rows of that many UTC days, the last of which is `last`."""
        end = datetime.combine(last, time.min, tzinfo=UTC) + timedelta(days=1)
        return cls(Position(end - timedelta(days=days) - _TICK, None), end)

    def sql_parameters(self) -> dict[str, object]:
        """Return what the query is given; a key of NULL compares as neither greater nor less."""
        after = self.after or Position(EARLIEST, None)
        return dict(zip(PARAMETERS, (*after, self.before or LATEST), strict=True))


def window_of(incremental: Incremental | None, last: date, days: int) -> Span | RunDay:
    """Return what a sync reads for a number of days."""
    return RunDay(last, days) if incremental is None else Span.of_days(last, days)


def days_between(first: datetime, last: datetime) -> tuple[date, int]:
    """Return the last UTC day and the number of days that hold both moments."""
    return last.date(), (last.date() - first.date()).days + 1
