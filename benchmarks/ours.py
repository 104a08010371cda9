"""Our package as its operators use it: batches from the database, then every batch through the Airflow hook.

`python -m benchmarks.ours FOLDER [bulk | customerio] [unrecorded]` delivers as many batches at once as the job has
processes, each in a process of its own, as Airflow's mapped tasks are. The processes are ready, their imports done,
before the clock starts. With `unrecorded` there is no ledger; without it everything a deliver task does is done.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from threading import BrokenBarrierError
from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath

from benchmarks.job import Job
from benchmarks.pipeline import extract, lift_limits
from benchmarks.sync import sync
from reverse_etl.ledger.records import RunRef
from reverse_etl.operators.batch import deliver_batch
from reverse_etl.operators.ledger import no_recording, open_ledger, recording
from reverse_etl.staging.batches import BatchRef

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

LOG = logging.getLogger(__name__)
READY_WITHIN_SECONDS = 60.0
UNRECORDED = "unrecorded"
LATE_IMPORTS = (
    "reverse_etl.customerio.destination",
    "reverse_etl.customerio.hook",
    "reverse_etl.delivery.engine",
    "reverse_etl.delivery.report",
    "reverse_etl.delivery.results",
    "reverse_etl.iterable.destination",
    "reverse_etl.iterable.hook",
    "reverse_etl.ledger.journal",
    "reverse_etl.ledger.pacing",
)


@dataclass(frozen=True)
class Work:
    """What a worker did for one batch: rows delivered, processor time, and its peak resident set so far."""

    pid: int
    delivered: int
    cpu_seconds: float
    peak_mib: float


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepare(everyone: Barrier, *, limited: bool) -> None:
    """Begin a worker: import what the package imports only when it delivers; wait for the others."""
    for module in LATE_IMPORTS:
        importlib.import_module(module)
    open_ledger().close()
    if not limited:
        lift_limits()
    everyone.wait(READY_WITHIN_SECONDS)


def deliver_one(job: Job, arguments: Sequence[str], batch: BatchRef) -> Work:
    """Deliver one batch as a deliver task does."""
    began = time.process_time()
    measured = sync(arguments)
    run = RunRef("benchmark", Path(job.folder).name, measured.name, 0, date(2026, 1, 13), 1)
    delivered = deliver_batch(
        measured,
        batch,
        ObjectStoragePath(f"file://{job.folder}/staging"),
        no_recording() if UNRECORDED in arguments else recording(run, batch.index),
        attempt=run.attempt,
        log=LOG,
    )
    if delivered.stopped is not None:
        raise delivered.stopped
    rows = delivered.totals.as_dict()["delivered"]
    return Work(os.getpid(), rows, time.process_time() - began, peak_mib())


def main() -> None:
    job = Job.given()
    context = multiprocessing.get_context("spawn")
    everyone = context.Barrier(job.processes + 1)
    ready = partial(prepare, everyone, limited=job.limited)
    with ProcessPoolExecutor(job.processes, mp_context=context, initializer=ready) as workers:
        for _ in range(job.processes):
            workers.submit(int)
        try:
            everyone.wait(READY_WITHIN_SECONDS)
        except BrokenBarrierError:
            raise RuntimeError("a worker did not start; its error is in the log above") from None
        started, cpu = time.monotonic(), time.process_time()
        batches = extract(job, ObjectStoragePath(f"file://{job.folder}/staging"))
        extracted = time.monotonic()
        done = list(workers.map(partial(deliver_one, job, sys.argv), batches))
        ended, cpu = time.monotonic(), time.process_time() - cpu
    peaks: dict[int, float] = {}
    for work in done:
        peaks[work.pid] = max(work.peak_mib, peaks.get(work.pid, 0.0))
    job.finish(
        seconds=ended - started,
        deliver_seconds=ended - extracted,
        delivered=sum(work.delivered for work in done),
        cpu_seconds=cpu + sum(work.cpu_seconds for work in done),
        peak_mib=peak_mib() + sum(peaks.values()),
    )


if __name__ == "__main__":
    main()
