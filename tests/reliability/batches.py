"""One batch of one attempt delivered without Airflow's task around it, as a deliver task does inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.reliability.syncs import Calls, make_sync

if TYPE_CHECKING:
    from reverse_etl.ledger.records import RunRef
    from reverse_etl.operators.ledger import Recording

DAY = date(2026, 1, 13)
RUN = "one-run"


@dataclass(frozen=True)
class Ended:
    """How a delivery ended: what stopped it, rows by outcome, calls an earlier try had settled."""

    stopped: BaseException | None
    totals: dict[str, int]
    resumed: int


def deliver(
    name: str, query: Path, calls: Calls, batch: Mapping[str, Any], results: str, *, patience: float | None = None
) -> Ended:
    """Deliver a batch of the run `RUN`, in the ledger and by the connection the environment names.

    `patience` are the seconds to wait for the ledger's lock, where they are not the ledger's own.
    """
    from airflow.sdk import ObjectStoragePath

    from reverse_etl.delivery.results import writing_results
    from reverse_etl.ledger.records import RunRef
    from reverse_etl.operators.batch import BatchRun
    from reverse_etl.operators.ledger import recording
    from reverse_etl.staging.batches import BatchRef

    reference = BatchRef.from_dict(batch)
    ref = RunRef(name, RUN, name, 0, DAY, 7)
    with (
        recording(ref, reference.index) if patience is None else _impatient(ref, reference.index, patience) as record,
        writing_results(ObjectStoragePath(results)) as writer,
    ):
        delivery = BatchRun(make_sync(name, query, calls), reference, writer.add, record)
        stopped = delivery.run()
        delivery.finish()
    return Ended(stopped, delivery.totals.as_dict(), record.resumed)


@contextmanager
def _impatient(ref: RunRef, batch: int, patience: float) -> Iterator[Recording]:
    """Do what `recording` does, with a ledger that waits less long for a lock."""
    from reverse_etl.ledger.journal import BatchJournal
    from reverse_etl.ledger.ledger import Ledger
    from reverse_etl.ledger.pacing import shared_paces
    from reverse_etl.operators.ledger import Recording, ledger_url

    with Ledger.open(ledger_url(), patience=patience) as ledger:
        journal = BatchJournal(ledger.begin(ref), batch)
        yield Recording(journal, shared_paces(ledger.budgets), journal)
