"""The export task: the run's rows as one CSV file."""

from __future__ import annotations

import time
from typing import Any

from reverse_etl.operators.base import RUN_FACTS, RunParams, SyncOperator, output_file, pulled, staging_folder


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
        references = pulled(context["ti"], self.extract_task_id, "return_value")
        facts = pulled(context["ti"], self.extract_task_id, RUN_FACTS)
        batches = [BatchRef.from_dict(reference) for reference in references]
        target = output_file(self.sync, "query_results", facts["stamp"], "csv", RunParams.of(context))
        rows = export_csv(batches, staging_folder(self.sync, context), target, neutralise=self.neutralise)
        self.log.info("Wrote %s rows to %s in %.1f s", rows, target, time.monotonic() - started)
        return str(target)
