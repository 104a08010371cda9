"""The first run of a sync that sends what changed, then one where a hundredth of the rows did: what each took.

`python -m benchmarks.changed FOLDER` runs the two one after the other, each in processes of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from upath import UPath

from benchmarks.job import Job
from benchmarks.memory import peak_mib
from benchmarks.pipeline import deliver, extract, lift_limits, open_client
from benchmarks.sandbox import call
from benchmarks.sync import BULK, SYNC, sync
from reverse_etl.iterable.config import IterableDestination
from reverse_etl.ledger.journal import BatchJournal
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.pacing import shared_paces
from reverse_etl.ledger.records import RunRef
from reverse_etl.staging.batches import BatchRef
from reverse_etl.staging.files import StagingPath

FULL, CHANGED = "full", "changed"
ONE_ROW_IN = 100

CHANGE = f"UPDATE benchmark_rows SET last_name = CONCAT(last_name, ' II') WHERE page_view_id % {ONE_ROW_IN} = 0"
CHANGE_BACK = (
    f"UPDATE benchmark_rows SET last_name = TRIM(TRAILING ' II' FROM last_name) WHERE page_view_id % {ONE_ROW_IN} = 0"
)


def send(job: Job, what: str) -> dict[str, Any]:
    """Extract in this process and deliver what changed in others, several batches at once; return what that took."""
    folder = UPath(Path(job.folder) / "staging" / what)
    before = _requests(job)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(job.processes, mp_context=context) as workers:
        started = time.monotonic()
        batches = extract(job, folder)
        extracted = time.monotonic()
        done = list(workers.map(partial(_deliver_one, job, what, folder), batches))
        ended = time.monotonic()
    outcomes: Counter[str] = Counter()
    for of_batch, _ in done:
        outcomes.update(of_batch)
    return {
        "extract_seconds": extracted - started,
        "deliver_seconds": ended - extracted,
        "requests": _requests(job) - before,
        "peak_mib": max(peak_mib(), *(peak for _, peak in done)),
        "outcomes": {name: rows for name, rows in outcomes.items() if rows},
    }


def _deliver_one(job: Job, what: str, folder: StagingPath, batch: BatchRef) -> tuple[dict[str, int], float]:
    """Deliver the changed rows of one batch as a deliver task does; return outcomes and this process's peak in MiB."""
    if not job.limited:
        lift_limits()
    mapping = sync([BULK]).destination
    if not isinstance(mapping, IterableDestination):
        raise TypeError("the sync that is measured is one for Iterable")
    run = RunRef("benchmark", what, SYNC.name, 0, date(2026, 1, 13), 1)
    with Ledger.open(f"sqlite:///{job.folder}/ledger.db") as ledger:
        journal = BatchJournal(ledger.begin(run), batch.index, compares=True)
        opener = open_client(job, mapping, shared_paces(ledger.budgets))
        totals = deliver(batch, folder, opener, journal, lambda: None)
    print(f"    {what}: batch {batch.index}: {totals}", file=sys.stderr, flush=True)
    return totals.as_dict(), peak_mib()


def main() -> None:
    job = Job.given()
    if len(sys.argv) > 2:
        print(json.dumps(send(job, sys.argv[2])))
        return
    with job.server() as server, closing(server.connect()) as connection, connection.cursor() as cursor:
        full = _in_its_own_process(FULL)
        cursor.execute(CHANGE)
        try:
            changed = _in_its_own_process(CHANGED)
        finally:
            cursor.execute(CHANGE_BACK)
    job.finish(seconds=full["extract_seconds"] + full["deliver_seconds"], full=full, changed=changed)


def _in_its_own_process(what: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.changed", sys.argv[1], what]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return result


def _requests(job: Job) -> int:
    return int(call(f"{job.url}/sandbox/stats", "GET")["requests_total"])


if __name__ == "__main__":
    main()
