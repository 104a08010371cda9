"""The steps of our DAG without Airflow: extract, export_csv, deliver, made of the same parts as the operators."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from benchmarks.job import API_KEY, HASH_KEY, Job
from benchmarks.sync import SYNC
from reverse_etl.delivery.destination import Destination
from reverse_etl.delivery.engine import DeliveryEngine
from reverse_etl.delivery.interpreter import tuned
from reverse_etl.delivery.outcomes import RowResult, Totals
from reverse_etl.delivery.pacing import Paces
from reverse_etl.delivery.results import writing_results
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import IterableDestination
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.iterable.destination import IterableDelivery
from reverse_etl.iterable.limits import LIMITS, Endpoint, Limit
from reverse_etl.ledger.journal import BatchJournal
from reverse_etl.redaction import KeyHasher
from reverse_etl.staging.batches import BatchRef, read_rows, write_batches
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.keys import KeyWatch, PersonWatch
from reverse_etl.staging.source import Row, stream_query

BATCH_ROWS = 50_000
"""As in the params of a sync."""

NO_LIMIT = Limit(per_second=10_000)

Opener = Callable[[], AbstractAsyncContextManager[Destination]]


def lift_limits() -> None:
    """Make clients of this process run as fast as they can; their pacing is still carried out."""
    LIMITS.update(dict.fromkeys(Endpoint, NO_LIMIT))


def extract(job: Job, folder: StagingPath) -> list[BatchRef]:
    """Write the rows of the job as batches of the default size, as the extract task does."""
    with job.source() as connection, stream_query(connection, SYNC.sql(), {}) as stream:
        keys = KeyWatch(stream.columns, SYNC.key)
        people = PersonWatch(stream.columns, SYNC.destination.identifiers())

        def watch(rows: Sequence[Row]) -> None:
            keys(rows)
            people(rows)

        batches = write_batches(stream, folder, batch_rows=BATCH_ROWS, row_limit=job.rows, watch=watch)
        keys.check(batches, folder, KeyHasher(HASH_KEY))
        people.apart(batches)
        return batches


def open_client(job: Job, mapping: IterableDestination, paces: Paces) -> Opener:
    """Return what opens the destination as the hook does, without Airflow."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Destination]:
        connection = IterableConnection(api_key=API_KEY, host=job.url, requests_in_flight=job.in_flight)
        async with IterableClient(connection, paces=paces) as client:
            yield IterableDelivery(
                client, SYNC.name, SYNC.key, mapping, calls=mapping.calls, requests_in_flight=job.in_flight
            )

    return opened


def deliver(
    batch: BatchRef, folder: StagingPath, open_destination: Opener, journal: BatchJournal, step: Callable[[], None]
) -> Totals:
    """Deliver one batch as a deliver task does, ledger and row results included; `step` is called for every row."""
    with writing_results(folder / f"results-{batch.index:05d}.parquet") as results:

        def note(result: RowResult) -> None:
            results.add(result)
            step()

        with tuned():
            totals = asyncio.run(_deliver(folder / f"batch-{batch.index:05d}.parquet", open_destination, journal, note))
        journal.close()
    return totals


async def _deliver(
    path: StagingPath, open_destination: Opener, journal: BatchJournal, note: Callable[[RowResult], None]
) -> Totals:
    engine = DeliveryEngine(key=SYNC.key, hash_key=KeyHasher(HASH_KEY), on_result=note, journal=journal)
    async with open_destination() as destination:
        await engine.deliver(itertools.chain.from_iterable(read_rows(path)), destination)
    return engine.totals
