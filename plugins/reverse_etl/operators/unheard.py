"""Rows of a mirror sync that a worker may have sent before it died: nobody has told what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reverse_etl.errors import ConfigurationError, DestinationUnavailable, StagingError
from reverse_etl.operators.base import run_folder
from reverse_etl.operators.batch import BatchRun, check_fits
from reverse_etl.operators.ledger import no_recording

if TYPE_CHECKING:
    from reverse_etl.delivery.outcomes import RowResult
    from reverse_etl.ledger.attempts import Attempt
    from reverse_etl.ledger.ledger import Ledger
    from reverse_etl.sync import Sync


def suspect_unheard(sync: Sync, ledger: Ledger) -> int:
    """Have such rows, and those whose call failed, stay known until they are removed; return how many were unheard of.

    To be done in the turn of the next run, before that begins. Raises LedgerUnavailable, StagingError, and what keeps
    the rows from being rendered. Safe to repeat.
    """
    suspects, count = ledger.suspects(sync.name), 0
    suspects.keep_failed()
    for attempt, batch in ledger.unheard(sync.name):
        keys = _maybe_sent(sync, attempt, batch)
        suspects.abandon(attempt.id, batch, keys)
        count += len(keys)
    return count


def unheard(sync: Sync, ledger: Ledger) -> Iterator[str]:
    """Yield the hashed keys of such rows, for a dry run."""
    for attempt, batch in ledger.unheard(sync.name):
        yield from _maybe_sent(sync, attempt, batch)


def _maybe_sent(sync: Sync, attempt: Attempt, batch: int) -> list[str]:
    """Return the hashed keys of rows recorded as delivered or failed, and of those of which nothing is recorded."""
    from reverse_etl.delivery.outcomes import Outcome

    recorded = attempt.outcomes(batch)
    told = {marked.key for marked in recorded}
    maybe = {marked.key for marked in recorded if marked.outcome in (Outcome.DELIVERED, Outcome.FAILED)}
    return [*maybe, *(key for key in _sendable(sync, attempt, batch) if key not in told)]


def _sendable(sync: Sync, attempt: Attempt, batch: int) -> list[str]:
    """Return the hashed keys of the rows of a batch that could have been sent.

    None where its files are gone or damaged, or the sync was changed since: no later run could begin otherwise.
    """
    from reverse_etl.delivery.outcomes import Outcome
    from reverse_etl.staging.batches import BatchRef

    path = run_folder(attempt.ref.dag_id, attempt.ref.run_id, sync.name) / f"batch-{batch:05d}.parquet"
    if not path.exists():
        return []
    results: list[RowResult] = []
    silent = DestinationUnavailable("the worker ended without telling what it had sent")
    ref = BatchRef(batch, str(path), 0)
    with no_recording() as record:
        try:
            check_fits(sync, ref)
            delivery = BatchRun(sync, ref, results.append, record, stopped=silent)
        except (ConfigurationError, StagingError):
            return []
        stopped = delivery.run()
    if stopped is not None and stopped is not silent and not isinstance(stopped, StagingError):
        raise stopped
    return [result.key for result in results if result.outcome is Outcome.FAILED]
