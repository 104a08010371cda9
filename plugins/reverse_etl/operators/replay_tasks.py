"""The tasks of the DAG that replays the quarantine of a sync."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Param, TriggerRule
from airflow.sdk.exceptions import AirflowSkipException

from reverse_etl.errors import RunFailed
from reverse_etl.operators.base import (
    DELIVERY,
    RESULT,
    RETRY_POLICY,
    RUN_FACTS,
    failures_of,
    pulled,
    refuse_unknown_params,
)
from reverse_etl.operators.batch import results_of_silent
from reverse_etl.operators.batch_tasks import LABEL, over_batches, publish, raise_unless_done
from reverse_etl.operators.ledger import recording
from reverse_etl.operators.replay import (
    ReplayBatch,
    ReplayRun,
    Wanted,
    finish,
    parse_since,
    replay_batch,
    reread,
    select,
    summarise,
)
from reverse_etl.operators.syncs import dags_folder, find_sync
from reverse_etl.operators.turns import end_turn, turn_of, wait_for_turn

if TYPE_CHECKING:
    from airflow.sdk import XComArg
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    from reverse_etl.delivery.outcomes import Totals
    from reverse_etl.delivery.report import BatchDelivery
    from reverse_etl.sync import Sync


def replay_params(*, batch_rows: int = 50_000) -> dict[str, Param]:
    """Return the params the tasks read, with this default."""
    return {
        "sync": Param(
            type="string", minLength=1, title="Sync", description="The name of the sync whose rows are sent again."
        ),
        "reason": Param(
            None,
            type=["null", "string"],
            title="Reason",
            description="Only calls with this reason code, such as email_malformed. Empty: all.",
        ),
        "since": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Since",
            description="Only calls seen in quarantine on this UTC day or later. Empty: all.",
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="Count what would be sent, but send nothing."
        ),
        "batch_rows": Param(
            batch_rows,
            type="integer",
            minimum=1,
            maximum=1_000_000,
            title="Batch size",
            description="Rows of one batch, which is one deliver task.",
        ),
    }


@dataclass(frozen=True, slots=True)
class ReplayParams:
    """The params of the run, as `replay_params()` declares them."""

    wanted: Wanted
    dry_run: bool
    batch_rows: int

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> ReplayParams:
        """Read them from Airflow's context; raise ConfigurationError for others."""
        refuse_unknown_params(context)
        params = context["params"]
        wanted = Wanted(params["sync"], params["reason"] or None, parse_since(params["since"]))
        return cls(wanted, params["dry_run"], params["batch_rows"])


class ReplayOperator(BaseOperator):
    """Base of the tasks: the sync is named by a param and found in the DAG files."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        super().__init__(**kwargs)

    def _sync(self, context: Any) -> Sync:
        return find_sync(ReplayParams.of(context).wanted.sync, dags_folder(context))

    def _run(self, context: Any) -> ReplayRun:
        dag_run = context["dag_run"]
        return ReplayRun(dag_run.dag_id, dag_run.run_id, dag_run.clear_number)


class SelectOperator(ReplayOperator):
    """Counts what is in quarantine and would be replayed; returns the counts."""

    def execute(self, context: Any) -> dict[str, Any]:
        """Count; raises ConfigurationError for a sync no DAG has."""
        sync = self._sync(context)
        wanted = ReplayParams.of(context).wanted
        selection = select(wanted)
        for outcome, code, calls in selection.calls:
            self.log.info("%s: %s calls %s, %s", sync.name, calls, outcome, code)
        for day, window, rows in selection.days:
            self.log.info("%s rows of the run of %s over %s days", rows, day, window)
        if selection.forgotten:
            self.log.warning("%s rows of runs the ledger has forgotten cannot be replayed", selection.forgotten)
        if not selection.calls:
            self.log.info("nothing of this is in quarantine")
        return selection.as_dict()


class ReReadOperator(ReplayOperator):
    """Writes the rows as the source gives them now as batches; returns their references. Skipped in a dry run."""

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Read; raises SourceError, StagingError, LedgerUnavailable or ConfigurationError."""
        params = ReplayParams.of(context)
        if params.dry_run:
            raise AirflowSkipException("dry run: nothing is read or sent")
        sync = self._sync(context)
        wait_for_turn(self, sync, context)
        with turn_of(sync, context):
            folder = self._run(context).folder(sync.name)
            found = reread(sync, params.wanted, folder, batch_rows=params.batch_rows)
        self.log.info("Found %s rows in %s batches", found.rows, len(found.batches))
        if found.not_in_source:
            self.log.warning("%s rows are not in the source any more; they stay in quarantine", found.not_in_source)
        facts = {"read": found.rows, "not_in_source": found.not_in_source, "forgotten": found.forgotten}
        context["ti"].xcom_push(RUN_FACTS, facts)
        return [batch.as_dict() for batch in found.batches]

    def execute_again(self, context: Any, event: Any) -> list[dict[str, Any]]:
        """Go on after a while of waiting for another run of the sync."""
        del event
        return self.execute(context)


class ReplayBatchOperator(ReplayOperator):
    """Delivers one batch; a retry of the task sends only what the tries before it did not settle."""

    template_fields = ("batch",)

    def __init__(self, *, batch: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch = batch

    @classmethod
    def over(cls, batches: XComArg, **kwargs: Any) -> MappedOperator:
        """Return the mapped task over the batches, each labelled with what became of it."""
        return over_batches(cls, batches, **kwargs)

    def execute(self, context: Any) -> None:
        """Deliver; raises what stopped the batch, or RowsFailed while Airflow has another try for the failed rows."""
        batch = ReplayBatch(**self.batch)
        context[LABEL] = f"batch {batch.index}, {batch.day}: {batch.rows} rows"
        sync = self._sync(context)
        with turn_of(sync, context):
            delivered = replay_batch(sync, batch, self._run(context), self.log)
        publish(context, f"batch {batch.index}, {batch.day}", delivered)
        raise_unless_done(context["ti"], delivered)


class ReplayReportOperator(ReplayOperator):
    """Says what became of the rows, and fails the run when a row failed; one refused again stays in quarantine.

    Runs whatever became of the tasks before it. Pushes totals and problems under the key `result`.
    """

    def __init__(
        self,
        *,
        select_task_id: str = "select",
        reread_task_id: str = "re_read",
        deliver_task_id: str = "deliver",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ALL_DONE)
        super().__init__(**kwargs)
        self.select_task_id = select_task_id
        self.reread_task_id = reread_task_id
        self.deliver_task_id = deliver_task_id

    def execute(self, context: Any) -> None:
        """Report, and let the next run of the sync begin; raises RunFailed."""
        try:
            self._report(context)
        finally:
            params = ReplayParams.of(context)
            if not params.dry_run:
                end_turn(params.wanted.sync, context)

    def _report(self, context: Any) -> None:
        ti = context["ti"]
        selected = ti.xcom_pull(task_ids=self.select_task_id)
        if selected is None:
            raise RunFailed("the select task did not finish, so nothing was sent; its log says why")
        dry_run = ReplayParams.of(context).dry_run
        result = {"dry_run": dry_run, "selected": selected, "problems": []}
        if dry_run:
            self.log.info("DRY RUN, nothing was sent")
        else:
            result |= self._result(context)
        ti.xcom_push(RESULT, result)
        if result["problems"]:
            raise RunFailed("; ".join(result["problems"]))

    def _result(self, context: Any) -> dict[str, Any]:
        ti = context["ti"]
        facts = ti.xcom_pull(task_ids=self.reread_task_id, key=RUN_FACTS)
        if facts is None:
            raise RunFailed("the task that reads the rows did not finish, so nothing was sent; its log says why")
        sync, run = self._sync(context), self._run(context)
        batches = [ReplayBatch(**values) for values in pulled(ti, self.reread_task_id, "return_value")]
        deliveries = self._deliveries(ti, batches)
        totals = [
            (batch, self._totals(sync, run, batch, delivery))
            for batch, delivery in zip(batches, deliveries, strict=True)
        ]
        remaining = finish(sync.name, run, totals)
        summary = summarise(facts["not_in_source"], facts["forgotten"], totals, remaining)
        for delivery in deliveries:
            if delivery is not None and delivery.stopped:
                summary.problems.append(f"batch {delivery.index} stopped: {delivery.stopped}")
        summary.problems.extend(failures_of(ti, self.deliver_task_id))
        self.log.info(
            "%s; %s calls of the sync are still in quarantine",
            ", ".join(f"{name} {rows}" for name, rows in summary.totals.items()),
            remaining,
        )
        return summary.as_dict()

    def _deliveries(self, ti: Any, batches: Sequence[ReplayBatch]) -> list[BatchDelivery | None]:
        from reverse_etl.delivery.report import BatchDelivery

        if not batches:
            return []
        indexes = [batch.index for batch in batches]
        pushed = ti.xcom_pull(task_ids=self.deliver_task_id, key=DELIVERY, map_indexes=indexes)
        return [BatchDelivery(**values) if values else None for values in pushed]

    def _totals(self, sync: Sync, run: ReplayRun, batch: ReplayBatch, delivery: BatchDelivery | None) -> Totals:
        """Return the rows of a batch by outcome; where its task ended without a word, as the ledger knows them."""
        from reverse_etl.delivery.outcomes import Outcome, Totals

        totals = Totals()
        if delivery is not None:
            totals.outcomes.update({Outcome(name): rows for name, rows in delivery.outcomes.items()})
            return totals
        ref = run.ref(sync.name, date.fromisoformat(batch.day), batch.window_days)
        with recording(ref, batch.index, sends=False) as record:
            for result in results_of_silent(sync, batch.batch, record):
                totals.add(result)
        return totals
