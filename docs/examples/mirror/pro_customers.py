"""Customers on the pro plan are marked as such in Iterable; the mark goes when they leave the plan."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, CronDataIntervalTimetable, chain

from reverse_etl.iterable.config import IterableDestination, UserUpdate
from reverse_etl.mapping import Constant, Field
from reverse_etl.mirror import Mirror
from reverse_etl.operators.check import CheckOperator
from reverse_etl.operators.deliver import DeliverOperator
from reverse_etl.operators.export_csv import ExportCsvOperator
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.mirror_tasks import ApproveRemovalOperator, FindLeavingOperator, RemoveOperator
from reverse_etl.operators.params import sync_params
from reverse_etl.operators.report import ReportOperator
from reverse_etl.sync import Sync

SYNC = Sync(
    name="pro_customers",
    query=Path(__file__).with_name("pro_customers.sql"),
    key=("customer_id",),
    send="changed",
    mirror=Mirror(removal=UserUpdate(fields=(Constant("pro", value=False),)), largest_share=0.1),
    destination=IterableDestination(
        email="email",
        user=UserUpdate(fields=(Field("first_name"), Constant("pro", value=True))),
    ),
)

with DAG(
    dag_id=SYNC.name,
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    params=sync_params(),
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True},
):
    check = CheckOperator(task_id="check", sync=SYNC)
    extract = ExtractOperator(task_id="extract", sync=SYNC)
    export_csv = ExportCsvOperator(task_id="export_csv", sync=SYNC)
    deliver = DeliverOperator.over(extract.output, task_id="deliver", sync=SYNC, max_active_tis_per_dag=2)
    find_leaving = FindLeavingOperator(task_id="find_leaving", sync=SYNC)
    approve_removal = ApproveRemovalOperator(task_id="approve_removal", sync=SYNC)
    remove = RemoveOperator.over(find_leaving.output, task_id="remove", sync=SYNC)
    report = ReportOperator(task_id="report", sync=SYNC)

    chain(check, extract, [export_csv, deliver], find_leaving, approve_removal, remove, report)
