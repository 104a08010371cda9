"""Our package as its operators use it: batches from the database, then every batch through the Airflow hook."""

from __future__ import annotations

import logging
import sys
import time
from functools import partial

from airflow.sdk import ObjectStoragePath

from benchmarks.job import Job
from benchmarks.pipeline import deliver, extract, lift_limits
from benchmarks.sync import sync
from reverse_etl.delivery.progress import Progress
from reverse_etl.iterable.hook import IterableHook

LOG = logging.getLogger(__name__)


def main() -> None:
    job = Job.given()
    if not job.limited:
        lift_limits()
    measured = sync(sys.argv)
    folder = ObjectStoragePath(f"file://{job.folder}/staging")
    started = time.monotonic()
    batches = extract(job, folder)
    extracted = time.monotonic()
    delivered = 0
    for batch in batches:
        hook = IterableHook()
        progress = Progress(batch.rows, LOG.info)
        totals = deliver(batch, folder, partial(hook.destination, measured), progress.step)
        delivered += totals.as_dict()["delivered"]
    ended = time.monotonic()
    job.finish(seconds=ended - started, extract_seconds=extracted - started, delivered=delivered)


if __name__ == "__main__":
    main()
