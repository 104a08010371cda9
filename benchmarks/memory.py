"""Peak memory of extract, export_csv and deliver in one process that does nothing else and holds no Airflow."""

from __future__ import annotations

import resource
import sys
import time
from datetime import date
from pathlib import Path

from upath import UPath

from benchmarks.job import Job
from benchmarks.pipeline import deliver, extract, lift_limits, open_client
from benchmarks.sync import SYNC, sync
from reverse_etl.delivery.progress import Progress
from reverse_etl.iterable.config import IterableDestination
from reverse_etl.ledger.journal import BatchJournal
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.pacing import shared_paces
from reverse_etl.ledger.records import RunRef
from reverse_etl.staging.csv_export import export_csv


class Steps:
    """Seconds of each step and the peak resident set in MiB at its end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_mib: dict[str, float] = {"start": peak_mib()}
        self._last = time.monotonic()

    def done(self, name: str) -> None:
        """Note the step that ends now."""
        now = time.monotonic()
        self.seconds[name] = now - self._last
        self.peak_mib[name] = peak_mib()
        self._last = now


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    job = Job.given()
    lift_limits()
    if "airflow" in sys.modules:
        raise RuntimeError("Airflow was imported and would hide the growth of the steps")
    mapping = sync(sys.argv).destination
    if not isinstance(mapping, IterableDestination):
        raise TypeError("the sync that is measured is one for Iterable")
    folder = UPath(Path(job.folder) / "staging")
    steps = Steps()
    batches = extract(job, folder)
    steps.done("extract")
    exported = export_csv(batches, folder, UPath(Path(job.folder) / "rows.csv"))
    steps.done("export_csv")
    progress = Progress(job.rows, lambda line: print(f"    {line}", file=sys.stderr, flush=True))
    delivered = 0
    run = RunRef("benchmark", "memory", SYNC.name, 0, date(2026, 1, 13), 1)
    for batch in batches:
        with Ledger.open(f"sqlite:///{job.folder}/ledger.db") as ledger:
            journal = BatchJournal(ledger.begin(run), batch.index)
            opener = open_client(job, mapping, shared_paces(ledger.budgets))
            totals = deliver(batch, folder, opener, journal, progress.step)
        delivered += totals.as_dict()["delivered"]
    steps.done("deliver")
    job.finish(
        seconds=sum(steps.seconds.values()),
        step_seconds=steps.seconds,
        step_peak_mib=steps.peak_mib,
        peak_mib=peak_mib(),
        exported=exported,
        delivered=delivered,
    )


if __name__ == "__main__":
    main()
