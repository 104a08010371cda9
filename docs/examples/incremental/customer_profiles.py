"""Customers that changed since the last run become Iterable users, every quarter of an hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, CronDataIntervalTimetable, chain

from reverse_etl.incremental import Incremental
from reverse_etl.iterable.config import IterableDestination, UserUpdate
from reverse_etl.mapping import Field
from reverse_etl.operators.deliver import DeliverOperator
from reverse_etl.operators.export_csv import ExportCsvOperator
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.params import sync_params
from reverse_etl.operators.report import ReportOperator
from reverse_etl.sync import Sync

SYNC = Sync(
    name="customer_profiles",
    query=Path(__file__).with_name("customer_profiles.sql"),
    key=("customer_id",),
    send="changed",
    incremental=Incremental(column="updated_at", key="customer_id", overlap=timedelta(minutes=10)),
    destination=IterableDestination(
        email="email",
        user=UserUpdate(fields=(Field("first_name"), Field("plan_type"))),
    ),
)

with DAG(
    dag_id=SYNC.name,
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("*/15 * * * *", timezone="UTC"),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=sync_params(window_days=1),
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True},
):
    extract = ExtractOperator(task_id="extract", sync=SYNC)
    export_csv = ExportCsvOperator(task_id="export_csv", sync=SYNC)
    deliver = DeliverOperator.over(extract.output, task_id="deliver", sync=SYNC, max_active_tis_per_dag=2)
    report = ReportOperator(task_id="report", sync=SYNC)

    chain(extract, [export_csv, deliver], report)
