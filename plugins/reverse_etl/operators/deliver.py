"""The deliver task, mapped over batches: every row of a batch becomes calls and has an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from reverse_etl.errors import SyncBusy
from reverse_etl.operators.base import RUN_FACTS, RunParams, SyncOperator, pulled, staging_folder
from reverse_etl.operators.batch import deliver_batch
from reverse_etl.operators.batch_tasks import LABEL, over_batches, publish, raise_unless_done
from reverse_etl.operators.ledger import Recording, previewing, recording, run_ref
from reverse_etl.operators.mirror import ATTEMPT, is_overtaken
from reverse_etl.operators.turns import turn_of

if TYPE_CHECKING:
    from airflow.sdk import XComArg
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    from reverse_etl.sync import Sync

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
        return over_batches(cls, batches, named_by="extract_task_id", sync=sync, **kwargs)

    def execute(self, context: Any) -> None:
        """Deliver; raises what stopped the batch, or RowsFailed while Airflow has another try for the failed rows."""
        from reverse_etl.staging.batches import BatchRef

        batch = BatchRef.from_dict(self.batch)
        context[LABEL] = f"batch {batch.index}: {batch.rows} rows"
        params = RunParams.of(context)
        with turn_of(self.sync, context, dry_run=params.dry_run):
            if self.sync.mirror is not None and not params.dry_run:
                self._check_latest(context)
            delivered = deliver_batch(
                self.sync,
                batch,
                staging_folder(self.sync, context),
                self._recording(context, batch.index, params),
                attempt=context["dag_run"].clear_number,
                log=self.log,
            )
        publish(context, f"batch {batch.index}", delivered)
        raise_unless_done(context["ti"], delivered)

    def _check_latest(self, context: Any) -> None:
        """Raise SyncBusy where rows of a mirror sync were read anew: somebody may have left, and be removed by now."""
        attempt = pulled(context["ti"], self.extract_task_id, RUN_FACTS)[ATTEMPT]
        if is_overtaken(run_ref(self.sync, context, self.extract_task_id), attempt):
            raise SyncBusy(
                f"another run of sync {self.sync.name}, which mirrors its source, has begun since these rows were "
                "read: nothing is sent; the next run sends them, or clear the extract task to read them anew"
            )

    def _recording(self, context: Any, batch: int, params: RunParams) -> AbstractContextManager[Recording]:
        from reverse_etl.mapping_text import to_text

        compares = params.sends(self.sync) == CHANGED
        if params.dry_run:
            return previewing(self.sync, sends_all=not compares)
        ref = run_ref(self.sync, context, self.extract_task_id)
        return recording(ref, batch, compares=compares, mapping=to_text(self.sync.destination))
