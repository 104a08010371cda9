"""The deliver task, mapped over batches: every row of a batch becomes calls and has an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from reverse_etl.operators.base import DELIVERY, RETRY_POLICY, RunParams, SyncOperator, staging_folder
from reverse_etl.operators.batch import deliver_batch, try_failed_again
from reverse_etl.operators.ledger import Recording, previewing, recording, run_ref
from reverse_etl.operators.turns import keeping_turn

if TYPE_CHECKING:
    from airflow.sdk import XComArg
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    from reverse_etl.sync import Sync

LABEL = "batch_label"
CHANGED = "changed"


class DeliverOperator(SyncOperator):
    """Delivers one batch through the destination's hook, asking and telling the ledger.

    `batch` is a reference as the extract task returns it. Pushes counts and the path of the row results under the key
    `delivery`, also when the batch had to stop. A retry of the task sends only what the tries before it did not settle.
    Reads the params `dry_run`, `send` and `window_days`.
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
        for extract, _key in batches.iter_references():
            kwargs.setdefault("extract_task_id", extract.task_id)
        return cls.partial(sync=sync, **kwargs).expand(batch=batches)

    def execute(self, context: Any) -> None:
        """Deliver; raises what stopped the batch, or RowsFailed while Airflow has another try for the failed rows."""
        from reverse_etl.staging.batches import BatchRef

        batch = BatchRef.from_dict(self.batch)
        context[LABEL] = f"batch {batch.index}: {batch.rows} rows"
        params = RunParams.of(context)
        dag_run = context["dag_run"]
        turn = nullcontext() if params.dry_run else keeping_turn(self.sync, dag_run.dag_id, dag_run.run_id)
        with turn:
            delivered = deliver_batch(
                self.sync,
                batch,
                staging_folder(self.sync, context),
                self._recording(context, batch.index, params),
                attempt=dag_run.clear_number,
                log=self.log,
            )
        context["ti"].xcom_push(DELIVERY, delivered.counts.as_dict())
        context[LABEL] = f"batch {batch.index}: {delivered.totals}"
        if delivered.stopped is not None:
            raise delivered.stopped
        try_failed_again(context["ti"], delivered.totals)

    def _recording(self, context: Any, batch: int, params: RunParams) -> AbstractContextManager[Recording]:
        from reverse_etl.mapping_text import to_text

        compares = params.sends(self.sync) == CHANGED
        if params.dry_run:
            return previewing(self.sync, sends_all=not compares)
        ref = run_ref(self.sync, context, self.extract_task_id)
        return recording(ref, batch, compares=compares, mapping=to_text(self.sync.destination))
