"""The extract task: resolves the run's day and writes the query's rows as batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reverse_etl.errors import ConfigurationError
from reverse_etl.operators.base import RUN_FACTS, RunParams, SyncOperator, hash_key, staging_folder
from reverse_etl.operators.consent import withhold
from reverse_etl.operators.source import source_rows
from reverse_etl.run_day import RunDay, resolve_day

if TYPE_CHECKING:
    from reverse_etl.staging.source import Row


class ExtractOperator(SyncOperator):
    """Runs the sync's query with a server-side cursor and writes its rows as typed Parquet batches.

    Returns the references of the batches, for mapping; pushes the facts of the run under the key `run`.
    Reads the params `date`, `window_days`, `row_limit` and `batch_rows`.
    """

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Extract; raises SourceError, ConfigurationError or StagingError, and KeyRefused when no key may be sent."""
        from reverse_etl.staging.batches import write_batches
        from reverse_etl.staging.keys import KeyWatch, PersonWatch

        started = time.monotonic()
        params = RunParams.of(context)
        run_day = run_day_of(context["dag_run"], params)
        self.log.info("Day %s, window %s to %s (UTC)", run_day.day, run_day.window_start, run_day.window_end)
        folder = staging_folder(self.sync, context)
        with source_rows(self.sync, run_day) as stream:
            keys = KeyWatch(stream.columns, self.sync.key)
            people = PersonWatch(stream.columns, self.sync.destination.identifiers())

            def watch(rows: Sequence[Row]) -> None:
                keys(rows)
                people(rows)

            batches = write_batches(
                stream, folder, batch_rows=params.batch_rows, row_limit=params.row_limit, watch=watch
            )
        keys.check(batches, folder, hash_key())
        if apart := people.apart(batches):
            self.log.warning(
                "%s rows are about people who have a row in an earlier batch; "
                "across batches a person's rows have no order, so raise batch_rows where the last one must win",
                apart,
            )
        if (suppressed := withhold(self.sync, run_day, batches, folder)) is not None:
            self.log.info("%s rows are about people not to contact", suppressed)
        rows = sum(batch.rows for batch in batches)
        seconds = time.monotonic() - started
        self.log.info("Read %s rows into %s batches in %.1f s", rows, len(batches), seconds)
        context["ti"].xcom_push(
            RUN_FACTS,
            {
                "day": run_day.day.isoformat(),
                "window_start": run_day.window_start.isoformat(),
                "window_end": run_day.window_end.isoformat(),
                "stamp": run_day.stamp,
                "read": rows,
                "seconds": seconds,
            },
        )
        return [batch.as_dict() for batch in batches]


def run_day_of(dag_run: Any, params: RunParams) -> RunDay:
    """Return the day a run handles; raise ConfigurationError for a date in a backfill, which has one for each run."""
    if params.date and dag_run.run_type == "backfill":
        raise ConfigurationError("a backfill has a date for each of its runs; leave the param date empty")
    day = resolve_day(
        params.date,
        logical_date=dag_run.logical_date,
        run_after=dag_run.run_after,
        today=datetime.now(UTC).date(),
    )
    return RunDay(day, params.window_days)
