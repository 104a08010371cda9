"""What a run reads: its day and window or, for an incremental sync, the rows after the watermark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from reverse_etl.errors import ConfigurationError
from reverse_etl.incremental import Span, days_between
from reverse_etl.operators.base import RunParams
from reverse_etl.operators.ledger import open_ledger
from reverse_etl.run_day import RunDay, resolve_day

if TYPE_CHECKING:
    from reverse_etl.incremental import Incremental
    from reverse_etl.ledger.watermarks import Reader
    from reverse_etl.staging.ordered import OrderedRows
    from reverse_etl.staging.source import RowStream
    from reverse_etl.sync import Sync

FURTHEST_AHEAD = timedelta(days=1)
"""How far a row may be ahead of this machine's clock, which may be wrong by some hours, as the source's may be."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows a run reads, and under which day the ledger and the result files know them.

    `reader` is the run where what it reads is recorded: then its deliveries may move the watermark. `stamp` takes the
    place of that of the day in file names where several runs may handle the same day.
    """

    day: RunDay
    span: Span | None = None
    reader: Reader | None = None
    stamp: str = ""

    @property
    def window(self) -> RunDay | Span:
        """What the query is asked for."""
        return self.span or self.day

    def __str__(self) -> str:
        if self.span is None:
            return f"Day {self.day.day}, window {self.day.window_start} to {self.day.window_end} (UTC)"
        after = self.span.after.time if self.span.after else "the first row"
        return f"Rows after {after} (UTC) up to {self.span.before or 'the last'}"

    def finish(self, rows: OrderedRows | None) -> None:
        """Record the last row that was read."""
        if self.reader is not None and rows is not None:
            with open_ledger() as ledger:
                ledger.watermarks.end(self.reader, rows.last)

    def facts(self, rows: OrderedRows | None) -> dict[str, Any]:
        """Return what the other tasks are told, as JSON values.

        Days that hold all rows of a watermark run stand for it: with them its rows are found again.
        """
        last, days = self.day.day, self.day.window_days
        if self.stamp and rows is not None and rows.first and rows.last:
            last, days = days_between(rows.first.time, rows.last.time)
        end = datetime.combine(last, datetime.min.time(), tzinfo=UTC) + timedelta(days=1)
        return {
            "day": last.isoformat(),
            "window_days": days,
            "window_start": (end - timedelta(days=days)).isoformat(),
            "window_end": end.isoformat(),
            "stamp": self.stamp or self.day.stamp,
            "moves_watermark": self.reader is not None,
        }


def reading_of(sync: Sync, context: Mapping[str, Any], params: RunParams) -> Reading:
    """Return what the run reads.

    An incremental sync reads on from its watermark, unless the run is asked for a day, by the param or by a backfill. A
    run that was cleared reads again what it read before. Trials and dry runs look at the watermark and leave no trace.
    Raises ConfigurationError and LedgerUnavailable.
    """
    dag_run = context["dag_run"]
    is_backfill = dag_run.run_type == "backfill"
    if params.date and is_backfill:
        raise ConfigurationError("a backfill has a date for each of its runs; leave the param date empty")
    day = day_of(dag_run, params.date)
    if sync.incremental is None:
        return Reading(RunDay(day, params.window_days))
    if params.date or is_backfill:
        run_day = RunDay(day, params.window_days)
        return Reading(run_day, Span.of_days(day, params.window_days))
    stamp = dag_run.run_after.astimezone(UTC).strftime("%Y%m%d_%H%M%S")
    if params.dry_run or params.row_limit:
        return Reading(RunDay(day, 1), span_read_next(sync.name, sync.incremental), stamp=stamp)
    reader = reader_of(sync, context)
    with open_ledger() as ledger:
        read = ledger.watermarks.begin(reader, sync.incremental)
    span = Span(sync.incremental.after(read.start), read.end and read.end.time + timedelta(microseconds=1))
    return Reading(RunDay(day, 1), span, reader, stamp)


def span_read_next(sync: str, incremental: Incremental) -> Span:
    """Return what a run begun now would read on from the watermark of a sync, without a trace of asking."""
    with open_ledger() as ledger:
        return Span(incremental.after(ledger.watermarks.position(sync, incremental)))


def in_order(sync: Sync, rows: RowStream, window: RunDay | Span) -> OrderedRows | None:
    """Return the rows of an incremental sync with their order checked, None for another sync."""
    from reverse_etl.staging.ordered import OrderedRows

    if sync.incremental is None:
        return None
    span = window if isinstance(window, Span) else Span.of_days(window.day, window.window_days)
    return OrderedRows(rows, sync.incremental, span, latest=datetime.now(UTC) + FURTHEST_AHEAD)


def reader_of(sync: Sync, context: Mapping[str, Any]) -> Reader:
    """Return the run, as the watermarks know it."""
    from reverse_etl.ledger.watermarks import Reader

    return Reader(context["dag_run"].dag_id, context["dag_run"].run_id, sync.name)


def day_of(dag_run: Any, asked: str | None) -> date:
    """Return the day a run handles, `asked` being the param; raise ConfigurationError when that is no date."""
    return resolve_day(
        asked,
        logical_date=dag_run.logical_date,
        run_after=dag_run.run_after,
        today=datetime.now(UTC).date(),
    )
