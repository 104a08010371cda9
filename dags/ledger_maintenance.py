"""
### Keep the ledger small

Every day, outcomes, quarantined calls and staged rows older than `older_than_days` are removed. What was last delivered
stays unless `states_older_than_days` is given. To remove everything about one person, use `reverse-etl purge --person`:
it is not a DAG, because Airflow would keep the e-mail.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from reverse_etl.operators.maintenance import PurgeOperator, purge_params

with DAG(
    dag_id="ledger_maintenance",
    description="Forget outcomes, quarantined calls and staged rows that are old.",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("30 4 * * *", timezone="UTC"),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=purge_params(),
    tags=["reverse-etl"],
    default_args={"owner": "data", "retries": 3, "retry_delay": timedelta(minutes=5)},
):
    PurgeOperator(task_id="purge")
