"""The deliver task, mapped over batches: every row of a batch becomes calls and has an outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from reverse_etl.errors import AccountRefused, ReverseEtlError, RowsFailed
from reverse_etl.operators.base import DELIVERY, RETRY_POLICY, RunParams, SyncOperator, staging_folder
from reverse_etl.operators.batch import BatchRun
from reverse_etl.operators.ledger import Recording, no_recording, recording, run_ref

if TYPE_CHECKING:
    from airflow.sdk import XComArg
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    from reverse_etl.delivery.outcomes import RowResult, Totals
    from reverse_etl.sync import Sync

LABEL = "batch_label"


class DeliverOperator(SyncOperator):
    """Delivers one batch through the destination's hook, asking and telling the ledger.

    `batch` is a reference as the extract task returns it. Pushes counts and the path of the row results under the key
    `delivery`, also when the batch had to stop. A retry of the task sends only what the tries before it did not settle.
    Reads the params `dry_run` and `window_days`.
    """

    template_fields = ("batch",)

    def __init__(self, *, batch: Mapping[str, Any], extract_task_id: str = "extract", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch = batch
        self.extract_task_id = extract_task_id

    @classmethod
    def over(cls, batches: XComArg, *, sync: Sync, **kwargs: Any) -> MappedOperator:
        """Return the mapped task over the batches the extract task returns, each labelled with what became of it."""
        kwargs.setdefault("map_index_template", f"{{{{ {LABEL} }}}}")
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        return cls.partial(sync=sync, **kwargs).expand(batch=batches)

    def execute(self, context: Any) -> None:
        """Deliver; raises what stopped the batch, or RowsFailed while Airflow has another try for the failed rows."""
        from reverse_etl.delivery.progress import Progress
        from reverse_etl.delivery.report import BatchDelivery
        from reverse_etl.delivery.results import writing_results
        from reverse_etl.staging.batches import BatchRef

        batch = BatchRef.from_dict(self.batch)
        context[LABEL] = f"batch {batch.index}: {batch.rows} rows"
        folder = staging_folder(self.sync, context)
        target = folder / f"results-{batch.index:05d}.parquet"
        refusals = Refusals(folder, context["dag_run"].clear_number)
        dry_run = RunParams.of(context).dry_run
        with self._recording(context, batch.index, dry_run=dry_run) as record, writing_results(target) as results:
            progress = Progress(batch.rows, self.log.info, record.paces.use)

            def note(result: RowResult) -> None:
                results.add(result)
                progress.step()

            delivery = BatchRun(self.sync, batch, note, record, dry_run=dry_run, stopped=refusals.earlier())
            stopped = delivery.run()
            delivery.finish()
        totals = delivery.totals
        if isinstance(stopped, AccountRefused):
            refusals.remember(stopped)
        pushed = BatchDelivery(
            batch.index,
            str(target),
            totals.as_dict(),
            progress.seconds,
            _reason(stopped),
            resumed_calls=record.resumed,
            resent_calls=record.resent,
        )
        context["ti"].xcom_push(DELIVERY, pushed.as_dict())
        context[LABEL] = f"batch {batch.index}: {totals}"
        self._log_end(context[LABEL], batch.rows, progress.seconds, record)
        if stopped is not None:
            raise stopped
        _try_failed_again(context["ti"], totals)

    def _recording(self, context: Any, batch: int, *, dry_run: bool) -> AbstractContextManager[Recording]:
        if dry_run:
            return no_recording()
        return recording(run_ref(self.sync, context, self.extract_task_id), batch)

    def _log_end(self, label: str, rows: int, seconds: float, record: Recording) -> None:
        self.log.info("%s in %.1f s, %.0f rows/s", label, seconds, rows / seconds)
        if record.resumed:
            self.log.info("%s calls were not sent again: an earlier try had settled them", record.resumed)
        if record.resent:
            self.log.info("%s calls were sent again, because somebody cleared the task", record.resent)


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


def _try_failed_again(ti: Any, totals: Totals) -> None:
    """Raise RowsFailed while Airflow has a try left; after the last one the report judges the rows that failed."""
    from reverse_etl.delivery.outcomes import Outcome

    failed = totals.outcomes[Outcome.FAILED]
    if failed and ti.try_number <= ti.max_tries:
        raise RowsFailed(
            f"{failed} of {totals.rows} rows failed ({totals.top_reasons()}); another try sends only what is missing"
        )
