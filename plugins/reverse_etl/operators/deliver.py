"""The deliver task, mapped over batches: every row of a batch becomes calls and has an outcome."""

from __future__ import annotations

import asyncio
import gc
import importlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from reverse_etl.errors import DestinationError
from reverse_etl.operators.base import DELIVERY, RETRY_POLICY, SyncOperator, hash_key, staging_folder

if TYPE_CHECKING:
    from airflow.sdk import XComArg
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    from reverse_etl.delivery.outcomes import RowResult, Totals
    from reverse_etl.staging.batches import BatchRef
    from reverse_etl.sync import Sync

LABEL = "batch_label"


class DeliverOperator(SyncOperator):
    """Delivers one batch through the destination's hook.

    `batch` is a reference as the extract task returns it. Pushes counts and the path of the row results under the key
    `delivery`, also when the batch had to stop. Reads the param `dry_run`.
    """

    template_fields = ("batch",)

    def __init__(self, *, batch: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch = batch

    @classmethod
    def over(cls, batches: XComArg, *, sync: Sync, **kwargs: Any) -> MappedOperator:
        """Return the mapped task over the batches the extract task returns, each labelled with what became of it."""
        kwargs.setdefault("map_index_template", f"{{{{ {LABEL} }}}}")
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        return cls.partial(sync=sync, **kwargs).expand(batch=batches)

    def execute(self, context: Any) -> None:
        """Deliver; raises AccountRefused or DestinationUnavailable when the batch had to stop."""
        from reverse_etl.delivery.progress import Progress
        from reverse_etl.delivery.report import BatchDelivery
        from reverse_etl.delivery.results import writing_results
        from reverse_etl.staging.batches import BatchRef

        batch = BatchRef.from_dict(self.batch)
        context[LABEL] = f"batch {batch.index}: {batch.rows} rows"
        progress = Progress(batch.rows, self.log.info)
        target = staging_folder(context) / f"results-{batch.index:05d}.parquet"
        with writing_results(target) as results:

            def note(result: RowResult) -> None:
                results.add(result)
                progress.step()

            with _short_collections():
                totals, stopped = asyncio.run(self._deliver(batch, note, dry_run=context["params"]["dry_run"]))
        delivery = BatchDelivery(
            batch.index, str(target), totals.as_dict(), progress.seconds, str(stopped) if stopped else ""
        )
        context["ti"].xcom_push(DELIVERY, delivery.as_dict())
        context[LABEL] = f"batch {batch.index}: {totals}"
        self.log.info("%s in %.1f s, %.0f rows/s", context[LABEL], progress.seconds, batch.rows / progress.seconds)
        if stopped is not None:
            raise stopped

    async def _deliver(
        self, batch: BatchRef, note: Callable[[RowResult], None], *, dry_run: bool
    ) -> tuple[Totals, DestinationError | None]:
        from reverse_etl.delivery.engine import DeliveryEngine
        from reverse_etl.staging.batches import read_rows

        hook = _hook(self.sync)
        async with hook.destination(self.sync) as destination:
            engine = DeliveryEngine(
                destination,
                key=self.sync.key,
                hash_key=hash_key(),
                on_result=note,
                dry_run=dry_run,
            )
            try:
                await engine.deliver(itertools.chain.from_iterable(read_rows(ObjectStoragePath(batch.path))))
            except DestinationError as error:
                return engine.totals, error
            return engine.totals, None


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
