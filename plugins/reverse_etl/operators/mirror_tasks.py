"""The tasks of a mirror sync: find who has left the source, ask where they are many, remove them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import ObjectStoragePath, TriggerRule
from airflow.sdk.exceptions import AirflowSkipException

from reverse_etl.errors import NotApproved, SyncBusy
from reverse_etl.operators.base import (
    RETRY_POLICY,
    RUN_FACTS,
    RunParams,
    SyncOperator,
    pulled,
    staging_folder,
)
from reverse_etl.operators.batch import deliver_batch
from reverse_etl.operators.batch_tasks import LABEL, over_batches, publish, raise_unless_done
from reverse_etl.operators.ledger import recording, run_ref
from reverse_etl.operators.mirror import (
    ATTEMPT,
    LEAVING,
    PLANNED,
    REMOVED_FOLDER,
    doubt_leaving,
    find_leaving,
    forget_removed,
    is_overtaken,
    plan_removals,
)
from reverse_etl.operators.questions import check_question, note_question
from reverse_etl.operators.returned import RETURNED, leave_returned
from reverse_etl.operators.turns import end_turn, turn_of

if TYPE_CHECKING:
    from airflow.sdk import XComArg
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    from reverse_etl.ledger.records import RunRef
    from reverse_etl.sync import Sync

APPROVED = "approved"
"""XCom key of the approval task: whether somebody who was asked said yes."""


class FindLeavingOperator(SyncOperator):
    """Compares what was delivered with the source; returns batches of rows to be removed, for mapping.

    Runs when every batch was delivered, also when there was none. A trial (`row_limit`) finds nothing, as it has not
    read everything; a dry run counts, plans and returns no batch.
    """

    def __init__(self, *, extract_task_id: str = "extract", **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.NONE_FAILED)
        super().__init__(**kwargs)
        self.extract_task_id = extract_task_id

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Find; raises LedgerUnavailable, StagingError, ConfigurationError, and SyncBusy when another run took over."""
        from reverse_etl.staging.batches import BatchRef

        params = RunParams.of(context)
        if params.row_limit:
            self.log.info("A trial has not read everything: nothing is removed")
            return []
        references = pulled(context["ti"], self.extract_task_id, "return_value")
        folder = staging_folder(self.sync, context) / REMOVED_FOLDER
        attempt = pulled(context["ti"], self.extract_task_id, RUN_FACTS)[ATTEMPT]
        with turn_of(self.sync, context, dry_run=params.dry_run):
            leaving, refs = find_leaving(
                self.sync,
                [BatchRef.from_dict(reference) for reference in references],
                attempt,
                folder,
                removed_at=context["dag_run"].run_after.astimezone(UTC),
                batch_rows=params.batch_rows,
                is_latest=attempt is not None and self._is_latest(context, attempt),
            )
        self.log.info("%s", leaving)
        planned = plan_removals(self.sync, refs, folder, self.log) if params.dry_run else []
        context["ti"].xcom_push(LEAVING, {**leaving.as_dict(), PLANNED: planned})
        return [] if params.dry_run else [ref.as_dict() for ref in refs]

    def _is_latest(self, context: Any, attempt: int) -> bool:
        return not is_overtaken(run_ref(self.sync, context, self.extract_task_id), attempt)


class ApproveRemovalOperator(ApprovalOperator):
    """Asks in the Airflow UI before an empty source, or more than the mirror's share of rows, is acted upon.

    Otherwise it ends at once. Until somebody answers nothing is removed; after a rejection nothing is either. Other
    runs of the sync may begin meanwhile: then this one removes nothing any more, whatever the answer.
    `response_timeout` limits the wait: then the task fails.
    """

    def __init__(self, *, sync: Sync, find_task_id: str = "find_leaving", **kwargs: Any) -> None:
        kwargs.setdefault("subject", f"Remove people of {sync.name}?")
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        super().__init__(**kwargs)
        self.sync = sync
        self.find_task_id = find_task_id

    def execute(self, context: Any) -> Any:
        """Ask, if somebody is to be asked; raises NotApproved where the run has asked about other rows."""
        leaving = context["ti"].xcom_pull(task_ids=self.find_task_id, key=LEAVING)
        if not leaving or not leaving["reasons"] or RunParams.of(context).dry_run:
            self.log.info("Nobody needs to be asked")
            return None
        note_question(staging_folder(self.sync, context) / REMOVED_FOLDER, leaving["digest"])
        self.subject = f"Remove {leaving['removed']} of {leaving['known']} rows of {self.sync.name}?"
        self.body = _question(self.sync, leaving)
        end_turn(self.sync.name, context)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Take the answer; what follows looks at it, whatever its trigger rule."""
        answer = super(ApprovalOperator, self).execute_complete(context, event)
        approved = answer["chosen_options"] == [self.APPROVE]
        self.log.info("Removal was %s", "approved" if approved else "rejected: everything stays as it is")
        context["ti"].xcom_push(APPROVED, approved)
        return answer


class RemoveOperator(SyncOperator):
    """Does the mirror's removal to the people of one batch, asking and telling the ledger as a delivery does.

    Rows that are in the source again are left alone. A retry of the task sends only what the tries before it did not
    settle. The ledger then forgets what was delivered of the rows that were removed: one that comes back is sent as if
    it were new.
    """

    template_fields = ("batch",)

    def __init__(
        self,
        *,
        batch: Mapping[str, Any],
        extract_task_id: str = "extract",
        find_task_id: str = "find_leaving",
        approve_task_id: str = "approve_removal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch = batch
        self.extract_task_id = extract_task_id
        self.find_task_id = find_task_id
        self.approve_task_id = approve_task_id

    @classmethod
    def over(cls, batches: XComArg, *, sync: Sync, **kwargs: Any) -> MappedOperator:
        """Return the mapped task over the batches the find task returns, each labelled with what became of it."""
        return over_batches(cls, batches, named_by="find_task_id", sync=sync, **kwargs)

    def execute(self, context: Any) -> None:
        """Remove; raises what stopped the batch, or RowsFailed while Airflow has another try for the failed rows.

        Raises NotApproved without an answer about these rows, where one is needed, and SourceError when nobody can tell
        who came back.
        Where another run of the sync has read the source since, nothing is done: it may have seen somebody come back.
        """
        leaving = pulled(context["ti"], self.find_task_id, LEAVING)
        self._check_approved(context, leaving)
        try:
            with turn_of(self.sync, context):
                ref = self._check_latest(context, leaving[ATTEMPT])
                self._remove(context, ref)
        except SyncBusy as busy:
            raise AirflowSkipException(f"{busy}: nothing is removed") from None

    def _remove(self, context: Any, ref: RunRef) -> None:
        from reverse_etl.staging.batches import BatchRef

        batch = BatchRef.from_dict(self.batch)
        left = leave_returned(self.sync, ref, batch, self.log)
        context["ti"].xcom_push(RETURNED, batch.rows - left.rows)
        context[LABEL] = f"removal {batch.index}: {left.rows} rows"
        if not left.rows:
            return
        doubt_leaving(self.sync, left)
        removal = self.sync.removal()
        attempt = replace(ref, sync=removal.name)
        delivered = deliver_batch(
            removal,
            left,
            staging_folder(self.sync, context) / REMOVED_FOLDER,
            recording(attempt, batch.index),
            attempt=context["dag_run"].clear_number,
            log=self.log,
        )
        publish(context, f"removal {batch.index}", delivered)
        self._forget(attempt, ObjectStoragePath(delivered.counts.results))
        raise_unless_done(context["ti"], delivered)

    def _forget(self, removal: RunRef, results: ObjectStoragePath) -> None:
        forgotten = forget_removed(self.sync, removal, results)
        self.log.info("rows removed: %s; one that comes back is sent again", forgotten)

    def _check_latest(self, context: Any, attempt: int) -> RunRef:
        """Return this run's attempt, unless `attempt`, which read the source, is not the latest word on it."""
        if pulled(context["ti"], self.extract_task_id, RUN_FACTS)[ATTEMPT] != attempt:
            raise AirflowSkipException("the source was read again since rows were compared: nothing is removed")
        ref = run_ref(self.sync, context, self.extract_task_id)
        if is_overtaken(ref, attempt):
            raise AirflowSkipException("another run of the sync has begun since: nothing is removed")
        return ref

    def _check_approved(self, context: Any, leaving: Mapping[str, Any]) -> None:
        if not leaving["reasons"]:
            return
        approved = context["ti"].xcom_pull(task_ids=self.approve_task_id, key=APPROVED)
        if approved is None:
            raise NotApproved(
                f"somebody is to be asked first ({'; '.join(leaving['reasons'])}), but no task "
                f"{self.approve_task_id!r} has an answer; put an ApproveRemovalOperator before this task, or clear it"
            )
        check_question(staging_folder(self.sync, context) / REMOVED_FOLDER, leaving["digest"])
        if not approved:
            raise AirflowSkipException("the removal was rejected: everything stays as it is")


def _question(sync: Sync, leaving: Mapping[str, Any]) -> str:
    reasons = "\n".join(f"- {reason}" for reason in leaving["reasons"])
    removal = sync.mirror.in_words() if sync.mirror else ""
    keys = ", ".join(f"`{key}`" for key in leaving["sample"])
    return (
        f"{leaving['removed']} of {leaving['known']} delivered rows of **{sync.name}** are not in the source any more. "
        f"Approve to have `{removal}` done to their people, reject to leave everything as it is.\n\n"
        f"You are asked because:\n\n{reasons}\n\nThe first hashed keys: {keys}"
    )
