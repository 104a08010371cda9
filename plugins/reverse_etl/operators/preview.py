"""What a run of a sync would do, without Airflow's tasks: the same parts as a dry run of the DAG."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reverse_etl.operators.base import run_folder
from reverse_etl.operators.batch import Log, deliver_batch
from reverse_etl.operators.ledger import previewing
from reverse_etl.operators.mirror import REMOVED_FOLDER, Leaving, find_leaving, plan_removals
from reverse_etl.operators.reading import in_order
from reverse_etl.operators.rows import stage_rows
from reverse_etl.operators.source import source_rows

if TYPE_CHECKING:
    from reverse_etl.incremental import Span
    from reverse_etl.run_day import RunDay
    from reverse_etl.sync import Sync

DAG_ID = "reverse-etl"


@dataclass(frozen=True, slots=True)
class Preview:
    """Rows read, rows by outcome and reason with what sending costs, and what stopped it, if anything did.

    `leaving` are the rows that have left the source of a sync that mirrors it.
    """

    read: int
    prediction: dict[str, Any]
    problems: list[str]
    leaving: Leaving | None = None


def preview(sync: Sync, window: RunDay | Span, *, sends_all: bool, batch_rows: int, run_id: str, log: Log) -> Preview:
    """Read the rows of a day, or of an incremental sync's span, and find out what a run would do with them.

    No request leaves. The rows are staged as those of a run are, and removed at the end. Raises SourceError,
    StagingError, LedgerUnavailable or ConfigurationError.
    """
    from reverse_etl.delivery.outcomes import Outcome, Totals
    from reverse_etl.delivery.plan import merged

    started = datetime.now(UTC)
    folder = run_folder(DAG_ID, f"{run_id}-{started:%H%M%S%f}", sync.name)
    totals, plans, problems = Totals(), [], []
    try:
        with source_rows(sync, window) as stream:
            rows = in_order(sync, stream, window) or stream
            batches = stage_rows(sync, rows, window, folder, batch_rows=batch_rows).batches
        for batch in batches:
            done = deliver_batch(sync, batch, folder, previewing(sync, sends_all=sends_all), attempt=0, log=log)
            if done.stopped is not None and not isinstance(done.stopped, Exception):
                raise done.stopped
            if done.stopped is not None:
                problems.append(f"batch {batch.index} stopped: {done.counts.stopped}")
            totals.outcomes.update({Outcome(name): rows for name, rows in done.counts.outcomes.items()})
            plans.append(done.counts.plan or {})
        leaving = None
        if sync.mirror is not None and not problems:
            leaving, removals = find_leaving(
                sync, batches, None, folder / REMOVED_FOLDER, removed_at=started, batch_rows=batch_rows
            )
            plans += plan_removals(sync, removals, folder / REMOVED_FOLDER, log)
    finally:
        if folder.exists():
            folder.fs.rm(folder.parent.path, recursive=True)
    read = sum(batch.rows for batch in batches)
    excess = totals.excess(read, sync.failure_share, dry_run=True)
    return Preview(read, merged(plans, totals.as_dict(), excess), problems, leaving)
