"""The extract task: resolves the run's day and writes the query's rows as batches."""

from __future__ import annotations

import time
from typing import Any

from reverse_etl.operators.base import RUN_FACTS, RunParams, SyncOperator, staging_folder
from reverse_etl.operators.ledger import attempt_of, open_ledger
from reverse_etl.operators.mirror import ATTEMPT, remember
from reverse_etl.operators.reading import Reading, in_order, reading_of
from reverse_etl.operators.rows import Staged, stage_rows
from reverse_etl.operators.source import source_rows
from reverse_etl.operators.turns import turn_of, wait_for_turn
from reverse_etl.operators.unheard import suspect_unheard


class ExtractOperator(SyncOperator):
    """Runs the sync's query with a server-side cursor and writes its rows as typed Parquet batches.

    Returns the references of the batches, for mapping; pushes the facts of the run under the key `run`.
    An incremental sync reads on from its watermark, unless the run is asked for a day.
    Reads the params `date`, `window_days`, `row_limit` and `batch_rows`.
    """

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Extract, when no other run of the sync sends.

        Raises SourceError (KeyRefused too), ConfigurationError, StagingError, LedgerUnavailable or SyncBusy.
        """
        started = time.monotonic()
        params = RunParams.of(context)
        if not params.dry_run:
            wait_for_turn(self, self.sync, context)
        with turn_of(self.sync, context, dry_run=params.dry_run):
            return self._extract(context, params, started)

    def execute_again(self, context: Any, event: Any) -> list[dict[str, Any]]:
        """Go on after a while of waiting for another run of the sync."""
        del event
        return self.execute(context)

    def _extract(self, context: Any, params: RunParams, started: float) -> list[dict[str, Any]]:
        reading = reading_of(self.sync, context, params)
        self.log.info("%s", reading)
        attempt = self._begin(context, reading, params)
        folder = staging_folder(self.sync, context)
        with source_rows(self.sync, reading.window) as stream:
            ordered = in_order(self.sync, stream, reading.window)
            staged = stage_rows(
                self.sync,
                ordered or stream,
                reading.window,
                folder,
                batch_rows=params.batch_rows,
                row_limit=params.row_limit,
            )
        self._say(staged)
        batches = staged.batches
        reading.finish(ordered)
        if self.sync.mirror is not None and not params.dry_run:
            self.log.info("%s members are known", remember(self.sync, batches))
        rows = sum(batch.rows for batch in batches)
        seconds = time.monotonic() - started
        self.log.info("Read %s rows into %s batches in %.1f s", rows, len(batches), seconds)
        facts = {**reading.facts(ordered), "read": rows, "seconds": seconds, ATTEMPT: attempt}
        context["ti"].xcom_push(RUN_FACTS, facts)
        return [batch.as_dict() for batch in batches]

    def _begin(self, context: Any, reading: Reading, params: RunParams) -> int | None:
        """Begin the attempt of a mirror sync before its source is read: what others deliver after that may be newer.

        Return its number in the ledger.
        """
        if self.sync.mirror is None or params.dry_run:
            return None
        with open_ledger() as ledger:
            suspected = suspect_unheard(self.sync, ledger)
            if suspected:
                self.log.info("%s rows may be at the platform: their task never told what it had sent", suspected)
            return ledger.begin(attempt_of(self.sync, context, reading.day.day, reading.day.window_days)).id

    def _say(self, staged: Staged) -> None:
        if staged.apart:
            self.log.warning(
                "%s rows are about people who have a row in an earlier batch; "
                "across batches a person's rows have no order, so raise batch_rows where the last one must win",
                staged.apart,
            )
        if staged.withheld is not None:
            self.log.info("%s rows are about people not to contact", staged.withheld)
