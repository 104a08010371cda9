"""
### Forget people

Asks every platform of every sync to forget the people a query gives, then removes what is kept about them here. The
query is a file in `include/sql/forget_people`: a person given as a param would stay in Airflow's database. When the
day's limit of a platform is used up, the task goes on the next day.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from reverse_etl.operators.forget import ForgetOperator, forget_params

with DAG(
    dag_id="forget_people",
    description="Have people forgotten at every platform and here.",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    params=forget_params(),
    tags=["reverse-etl"],
    default_args={"owner": "data", "retries": 30, "retry_delay": timedelta(minutes=5)},
):
    ForgetOperator(task_id="forget", queries=Path(__file__).parents[1] / "include/sql/forget_people")
