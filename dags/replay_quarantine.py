"""
### Replay the quarantine

Sends rows again that were refused (`invalid` or `rejected`), after somebody has corrected them in the source, the
mapping or the platform. Trigger it with the name of the sync; `dry_run` only counts.

| task | what it does |
| --- | --- |
| `select` | counts what is in quarantine, by reason and day |
| `re_read` | runs the sync's query again for each of these days and keeps the rows that are in quarantine |
| `deliver` | one task per batch, the oldest day first: what is delivered leaves the quarantine |
| `report` | says what became of the rows, and fails the run when some failed |
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, chain

from reverse_etl.operators.replay_tasks import (
    ReplayBatchOperator,
    ReplayReportOperator,
    ReReadOperator,
    SelectOperator,
    replay_params,
)

with DAG(
    dag_id="replay_quarantine",
    description="Send refused rows of a sync again, as they are in the source now.",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=replay_params(),
    tags=["reverse-etl"],
    default_args={"owner": "data", "retries": 3, "retry_delay": timedelta(seconds=30)},
):
    select = SelectOperator(task_id="select")
    re_read = ReReadOperator(task_id="re_read")
    # One at a time: the oldest day first, so that a person's latest row is sent last.
    deliver = ReplayBatchOperator.over(re_read.output, task_id="deliver", max_active_tis_per_dagrun=1)
    report = ReplayReportOperator(task_id="report")

    chain(select, re_read, deliver, report)
