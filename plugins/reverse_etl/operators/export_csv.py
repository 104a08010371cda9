"""The export task: the run's rows as one CSV file."""

from __future__ import annotations

import time
from typing import Any

from reverse_etl.operators.base import RUN_FACTS, SyncOperator, output_file, staging_folder


class ExportCsvOperator(SyncOperator):
    """Writes the batches of the extract task to `query_results_<end of the run's day>.csv`.

    `neutralise` makes cells safe that a spreadsheet would take for formulas. Returns the path of the file.
    """

    def __init__(self, *, extract_task_id: str = "extract", neutralise: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.extract_task_id = extract_task_id
        self.neutralise = neutralise

    def execute(self, context: Any) -> str:
        """Export; raises StagingError."""
        from reverse_etl.staging.batches import BatchRef
        from reverse_etl.staging.csv_export import export_csv

        started = time.monotonic()
        pulled = context["ti"].xcom_pull(task_ids=self.extract_task_id)
        batches = [BatchRef.from_dict(reference) for reference in pulled]
        facts = context["ti"].xcom_pull(task_ids=self.extract_task_id, key=RUN_FACTS)
        dry_run = context["params"]["dry_run"]
        target = output_file(self.sync, "query_results", facts["stamp"], "csv", dry_run=dry_run)
        rows = export_csv(batches, staging_folder(context), target, neutralise=self.neutralise)
        self.log.info("Wrote %s rows to %s in %.1f s", rows, target, time.monotonic() - started)
        return str(target)
