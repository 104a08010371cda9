"""A full send, then one of which a hundredth of the rows changed: requests, seconds and peak memory of each.

`python -m benchmarks.changed FOLDER` runs the two one after the other, each in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from upath import UPath

from benchmarks.job import Job
from benchmarks.memory import peak_mib
from benchmarks.pipeline import deliver, extract, lift_limits, open_client
from benchmarks.sandbox import call
from benchmarks.sync import BULK, SYNC, sync
from reverse_etl.delivery.progress import Progress
from reverse_etl.iterable.config import IterableDestination
from reverse_etl.ledger.journal import BatchJournal
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.pacing import shared_paces
from reverse_etl.ledger.records import RunRef

ALL, CHANGED = "all", "changed"
ONE_ROW_IN = 100

CHANGE = f"UPDATE benchmark_rows SET last_name = CONCAT(last_name, ' II') WHERE page_view_id % {ONE_ROW_IN} = 0"
CHANGE_BACK = (
    f"UPDATE benchmark_rows SET last_name = TRIM(TRAILING ' II' FROM last_name) WHERE page_view_id % {ONE_ROW_IN} = 0"
)


def send(job: Job, what: str) -> dict[str, Any]:
    """Extract and deliver the rows in this process, all of them or what changed; return what that took."""
    if not job.limited:
        lift_limits()
    mapping = sync([BULK]).destination
    if not isinstance(mapping, IterableDestination):
        raise TypeError("the sync that is measured is one for Iterable")
    folder = UPath(Path(job.folder) / "staging" / what)
    before = _requests(job)
    started = time.monotonic()
    batches = extract(job, folder)
    extracted = time.monotonic()
    progress = Progress(job.rows, lambda line: print(f"    {what}: {line}", file=sys.stderr, flush=True))
    outcomes: dict[str, int] = {}
    run = RunRef("benchmark", what, SYNC.name, 0, date(2026, 1, 13), 1)
    for batch in batches:
        with Ledger.open(f"sqlite:///{job.folder}/ledger.db") as ledger:
            journal = BatchJournal(ledger.begin(run), batch.index, compares=what == CHANGED)
            opener = open_client(job, mapping, shared_paces(ledger.budgets))
            totals = deliver(batch, folder, opener, journal, progress.step)
        for name, rows in totals.as_dict().items():
            outcomes[name] = outcomes.get(name, 0) + rows
    return {
        "extract_seconds": extracted - started,
        "deliver_seconds": time.monotonic() - extracted,
        "requests": _requests(job) - before,
        "peak_mib": peak_mib(),
        "outcomes": {name: rows for name, rows in outcomes.items() if rows},
    }


def main() -> None:
    job = Job.given()
    if len(sys.argv) > 2:
        print(json.dumps(send(job, sys.argv[2])))
        return
    with job.server() as server, closing(server.connect()) as connection, connection.cursor() as cursor:
        full = _in_its_own_process(ALL)
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
