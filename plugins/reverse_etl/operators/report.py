"""The report task, the leaf of the DAG: writes the run's result and fails the run when something is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath, TriggerRule

from reverse_etl.errors import RunFailed
from reverse_etl.operators.base import (
    DELIVERY,
    RESULT,
    RUN_FACTS,
    RunParams,
    SyncOperator,
    failures_of,
    output_file,
    staging_folder,
)
from reverse_etl.operators.batch import results_of_silent
from reverse_etl.operators.ledger import Recording, no_recording, open_ledger, recording, run_ref
from reverse_etl.operators.removals import removals_of
from reverse_etl.operators.turns import end_turn
from reverse_etl.operators.watermark import FirstUndelivered, move_watermark

if TYPE_CHECKING:
    from reverse_etl.delivery.outcomes import RowResult, Totals
    from reverse_etl.delivery.report import BatchDelivery, Report
    from reverse_etl.staging.batches import BatchRef

WATERMARK_MOVED = "The watermark moved to the last row before which every row was delivered or is in quarantine"
WATERMARK_STAYS = "The watermark stays where it was"


class ReportOperator(SyncOperator):
    """Writes `integration_results_<end of the run's day>.json` and `.parquet` and judges the run.

    Runs whatever became of the tasks before it. Pushes totals, paths and problems under the key `result`, then raises
    RunFailed if there is a problem.
    """

    def __init__(
        self,
        *,
        extract_task_id: str = "extract",
        export_task_id: str = "export_csv",
        deliver_task_id: str = "deliver",
        find_task_id: str = "find_leaving",
        remove_task_id: str = "remove",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ALL_DONE)
        super().__init__(**kwargs)
        self.extract_task_id = extract_task_id
        self.export_task_id = export_task_id
        self.deliver_task_id = deliver_task_id
        self.find_task_id = find_task_id
        self.remove_task_id = remove_task_id

    def execute(self, context: Any) -> None:
        """Report, and let the next run of the sync begin; raises RunFailed."""
        try:
            self._report(context)
        finally:
            if not RunParams.of(context).dry_run:
                end_turn(self.sync.name, context)

    def _report(self, context: Any) -> None:
        from reverse_etl.staging.batches import BatchRef

        ti = context["ti"]
        facts = ti.xcom_pull(task_ids=self.extract_task_id, key=RUN_FACTS)
        references = ti.xcom_pull(task_ids=self.extract_task_id)
        if facts is None or references is None:
            raise RunFailed(
                "the extract task did not finish, so nothing was delivered; its log, or that of check, says why"
            )
        batches = [BatchRef.from_dict(reference) for reference in references]
        deliveries = self._deliveries(ti, batches)
        result = self._write(context, facts, batches, deliveries)
        ti.xcom_push(RESULT, result)
        self._log_summary(result)
        if result["problems"]:
            raise RunFailed("; ".join(result["problems"]))

    def _deliveries(self, ti: Any, batches: Sequence[BatchRef]) -> list[BatchDelivery | None]:
        """Return what each batch's deliver task pushed; None where it ended without a word."""
        from reverse_etl.delivery.report import BatchDelivery

        if not batches:
            return []
        pushed = ti.xcom_pull(
            task_ids=self.deliver_task_id, key=DELIVERY, map_indexes=[batch.index for batch in batches]
        )
        return [BatchDelivery(**values) if values else None for values in pushed]

    def _write(
        self,
        context: Any,
        facts: Mapping[str, Any],
        batches: Sequence[BatchRef],
        deliveries: Sequence[BatchDelivery | None],
    ) -> dict[str, Any]:
        from reverse_etl.delivery.report import Report, RunFacts
        from reverse_etl.staging.files import copy_file

        started = time.monotonic()
        params = RunParams.of(context)
        delivered_in = sum(delivery.seconds for delivery in deliveries if delivery)
        report = Report(
            RunFacts(
                sync=self.sync.name,
                day=facts["day"],
                window_start=facts["window_start"],
                window_end=facts["window_end"],
                run_id=context["run_id"],
                dry_run=params.dry_run,
                send=params.sends(self.sync),
                read=facts["read"],
                seconds={"extract": round(facts["seconds"], 3), "deliver": round(delivered_in, 3)},
                resumed_calls=sum(delivery.resumed_calls for delivery in deliveries if delivery),
                resent_calls=sum(delivery.resent_calls for delivery in deliveries if delivery),
            ),
            self.sync.failure_share,
        )
        self._add_problems(report, context["ti"], deliveries)
        for delivery in deliveries:
            if delivery is not None and delivery.plan:
                report.add_plan(delivery.plan)
        self._add_removals(context, report)
        json, parquet = (
            output_file(self.sync, "integration_results", facts["stamp"], suffix, params)
            for suffix in ("json", "parquet")
        )
        own = staging_folder(self.sync, context) / "results.parquet"
        undelivered = FirstUndelivered()
        report.write_parquet(self._results(context, batches, deliveries, undelivered), own)
        report.write_json(own, json)
        copy_file(own, parquet)
        self._finish(context, facts["read"], report.totals)
        moved = None
        if facts["moves_watermark"] and report.adds_up:
            moved = move_watermark(self.sync, context, undelivered.place_before(self.sync, batches))
            self.log.info(WATERMARK_MOVED if moved else WATERMARK_STAYS)
        return {
            "day": facts["day"],
            "dry_run": params.dry_run,
            "totals": {"read": facts["read"], **report.totals.as_dict()},
            "resumed_calls": report.facts.resumed_calls,
            "resent_calls": report.facts.resent_calls,
            "seconds": round(facts["seconds"] + delivered_in + time.monotonic() - started, 3),
            "csv": context["ti"].xcom_pull(task_ids=self.export_task_id),
            "json": str(json),
            "parquet": str(parquet),
            "watermark_moved": moved,
            "removals": report.removals,
            "problems": report.problems(),
            **({"prediction": report.prediction()} if params.dry_run else {}),
        }

    def _add_problems(self, report: Report, ti: Any, deliveries: Sequence[BatchDelivery | None]) -> None:
        for delivery in deliveries:
            if delivery is not None and delivery.stopped:
                report.add_problem(f"batch {delivery.index} stopped: {delivery.stopped}")
        for problem in failures_of(ti, self.export_task_id, self.deliver_task_id):
            report.add_problem(problem)

    def _add_removals(self, context: Any, report: Report) -> None:
        if self.sync.mirror is None:
            return
        removals = removals_of(
            self.sync, context, self.extract_task_id, find_task_id=self.find_task_id, remove_task_id=self.remove_task_id
        )
        for problem in removals.problems:
            report.add_problem(problem)
        for plan in removals.planned:
            report.add_plan(plan)
        report.removals = removals.as_dict()
        self.log.info("rows that left the source: %s", removals)

    def _results(
        self,
        context: Any,
        batches: Sequence[BatchRef],
        deliveries: Sequence[BatchDelivery | None],
        undelivered: FirstUndelivered,
    ) -> Iterator[RowResult]:
        from reverse_etl.delivery.results import read_results

        for batch, delivery in zip(batches, deliveries, strict=True):
            if delivery is None:
                results = self._without_result(context, batch)
            else:
                results = read_results(ObjectStoragePath(delivery.results))
            for result in results:
                undelivered.note(batch.index, result)
                yield result

    def _without_result(self, context: Any, batch: BatchRef) -> Iterator[RowResult]:
        with self._recording(context, batch.index) as record:
            yield from results_of_silent(self.sync, batch, record)

    def _recording(self, context: Any, batch: int) -> AbstractContextManager[Recording]:
        params = RunParams.of(context)
        if params.dry_run:
            return no_recording()
        ref = run_ref(self.sync, context, self.extract_task_id)
        return recording(ref, batch, compares=params.sends(self.sync) == "changed", sends=False)

    def _finish(self, context: Any, read: int, totals: Totals) -> None:
        """Record the end of the attempt in the ledger."""
        if RunParams.of(context).dry_run:
            return
        with open_ledger() as ledger:
            ledger.begin(run_ref(self.sync, context, self.extract_task_id)).finish(read, totals.outcomes)

    def _log_summary(self, result: Mapping[str, Any]) -> None:
        mark = "DRY RUN, nothing was sent. " if result["dry_run"] else ""
        counts = ", ".join(f"{name} {count}" for name, count in result["totals"].items())
        self.log.info("%sDay %s: %s; %.1f s", mark, result["day"], counts, result["seconds"])
        for name in ("csv", "json", "parquet"):
            self.log.info("%s: %s", name, result[name])
