"""The deliver task, mapped over batches: every row of a batch becomes calls and has an outcome."""

from __future__ import annotations

import asyncio
import gc
import importlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from reverse_etl.errors import AccountRefused, ReverseEtlError
from reverse_etl.operators.base import (
    DELIVERY,
    RETRY_POLICY,
    RunParams,
    SyncOperator,
    hash_key,
    staging_folder,
)

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
        folder = staging_folder(self.sync, context)
        target = folder / f"results-{batch.index:05d}.parquet"
        refusals = Refusals(folder, context["dag_run"].clear_number)
        with writing_results(target) as results:

            def note(result: RowResult) -> None:
                results.add(result)
                progress.step()

            delivery = _BatchRun(self.sync, batch, note, dry_run=RunParams.of(context).dry_run)
            stopped = refusals.earlier() or delivery.run()
            delivery.finish()
            totals = delivery.totals
        if isinstance(stopped, AccountRefused):
            refusals.remember(stopped)
        pushed = BatchDelivery(batch.index, str(target), totals.as_dict(), progress.seconds, _reason(stopped))
        context["ti"].xcom_push(DELIVERY, pushed.as_dict())
        context[LABEL] = f"batch {batch.index}: {totals}"
        self.log.info("%s in %.1f s, %.0f rows/s", context[LABEL], progress.seconds, batch.rows / progress.seconds)
        if stopped is not None:
            raise stopped


class _BatchRun:
    """The delivery of one batch, which leaves a result for every row however it ends."""

    def __init__(self, sync: Sync, batch: BatchRef, note: Callable[[RowResult], None], *, dry_run: bool) -> None:
        from reverse_etl.delivery.engine import DeliveryEngine
        from reverse_etl.staging.batches import read_rows

        self._sync = sync
        self._rows = itertools.chain.from_iterable(read_rows(ObjectStoragePath(batch.path)))
        self._engine = DeliveryEngine(key=sync.key, hash_key=hash_key(), on_result=note, dry_run=dry_run)

    @property
    def totals(self) -> Totals:
        return self._engine.totals

    def run(self) -> BaseException | None:
        """Deliver; return what stopped it. A timeout of the task or a kill by Airflow comes as an exception too."""
        try:
            with _short_collections():
                asyncio.run(self._deliver())
        except BaseException as stopped:
            return stopped
        return None

    def finish(self) -> None:
        """Give a result to the rows that have none."""
        self._engine.abandon(self._rows)

    async def _deliver(self) -> None:
        async with _hook(self._sync).destination(self._sync) as destination:
            await self._engine.deliver(self._rows, destination)


class Refusals:
    """Remembers in the run's folder that the platform refused the account, so that later batches send nothing.

    A human who has mended the connection clears the tasks, which raises the run's clear number: then it is forgotten.
    """

    def __init__(self, folder: ObjectStoragePath, clear_number: int) -> None:
        self._marker = folder / f"account-refused-{clear_number}.json"

    def earlier(self) -> AccountRefused | None:
        """Return the refusal another batch of the run met, if one did."""
        if not self._marker.exists():
            return None
        facts = json.loads(self._marker.read_text())
        return AccountRefused("an earlier batch of this run was refused; nothing was sent", **facts)

    def remember(self, refusal: AccountRefused) -> None:
        """Keep the facts of a refusal."""
        facts = {"status": refusal.status, "code": refusal.code, "request_id": refusal.request_id}
        self._marker.write_text(json.dumps(facts))


def _reason(stopped: BaseException | None) -> str:
    """Our own errors say nothing personal; of others only the type is told."""
    if stopped is None:
        return ""
    return str(stopped) if isinstance(stopped, ReverseEtlError) else type(stopped).__name__


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
