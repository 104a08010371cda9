"""The delivery of one batch, from its Parquet file to its row results."""

from __future__ import annotations

import asyncio
import gc
import importlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from reverse_etl.operators.base import hash_key

if TYPE_CHECKING:
    from reverse_etl.delivery.outcomes import RowResult, Totals
    from reverse_etl.errors import DestinationError
    from reverse_etl.operators.ledger import Recording
    from reverse_etl.staging.batches import BatchRef
    from reverse_etl.sync import Sync


class BatchRun:
    """The delivery of one batch, which leaves a result for every row however it ends.

    `stopped` is what ended the delivery of an earlier batch of the run: then nothing is sent.
    """

    def __init__(
        self,
        sync: Sync,
        batch: BatchRef,
        note: Callable[[RowResult], None],
        record: Recording,
        *,
        dry_run: bool = False,
        stopped: DestinationError | None = None,
    ) -> None:
        from reverse_etl.delivery.engine import DeliveryEngine
        from reverse_etl.staging.batches import read_rows

        self._sync = sync
        self._record = record
        self._rows = itertools.chain.from_iterable(read_rows(ObjectStoragePath(batch.path)))
        self._engine = DeliveryEngine(
            key=sync.key,
            hash_key=hash_key(),
            on_result=note,
            journal=record.journal,
            dry_run=dry_run,
            stopped=stopped,
        )

    @property
    def totals(self) -> Totals:
        """Rows by outcome so far."""
        return self._engine.totals

    def run(self) -> BaseException | None:
        """Deliver; return what stopped it. A timeout of the task or a kill by Airflow comes as an exception too."""
        try:
            with _short_collections():
                asyncio.run(self._deliver())
            self._record.close()
        except BaseException as stopped:
            return stopped
        return None

    def finish(self) -> None:
        """Give a result to the rows that have none."""
        self._engine.abandon(self._rows)

    async def _deliver(self) -> None:
        async with _hook(self._sync).destination(self._sync, self._record.paces) as destination:
            await self._engine.deliver(self._rows, destination)


@contextmanager
def _short_collections() -> Iterator[None]:
    """Keep what Airflow has loaded out of garbage collection: going through it stops the event loop for 0.1 s."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _hook(sync: Sync) -> Any:
    """Return the hook of the sync's destination, imported only here: a DAG file needs no client to be parsed."""
    module, _, name = sync.destination.hook_class.rpartition(".")
    return getattr(importlib.import_module(module), name)(sync.destination.conn_id)
