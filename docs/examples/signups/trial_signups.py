"""New trials become Iterable users, and one `trial_started` event each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, CronDataIntervalTimetable, chain

from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.mapping import Constant, Field
from reverse_etl.operators.check import CheckOperator
from reverse_etl.operators.deliver import DeliverOperator
from reverse_etl.operators.export_csv import ExportCsvOperator
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.params import sync_params
from reverse_etl.operators.report import ReportOperator
from reverse_etl.sync import Sync

SYNC = Sync(
    name="trial_signups",
    query=Path(__file__).with_name("trial_signups.sql"),
    key=("trial_id",),
    destination=IterableDestination(
        email="email",
        user_id="user_id",
        user=UserUpdate(
            fields=(
                Field("first_name"),
                Field("company"),
                Field("newsletter_ok", column="newsletter", kind="boolean"),
                Field("interests", kind="json"),
                Constant("on_trial", value=True),
            )
        ),
        event=EventTrack(
            name="trial_started",
            created_at="started_at",
            fields=(Field("trial_plan"), Field("ends_on")),
        ),
    ),
    send="all",
)

with DAG(
    dag_id=SYNC.name,
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    params=sync_params(window_days=1),
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True},
):
    check = CheckOperator(task_id="check", sync=SYNC)
    extract = ExtractOperator(task_id="extract", sync=SYNC)
    export_csv = ExportCsvOperator(task_id="export_csv", sync=SYNC)
    deliver = DeliverOperator.over(extract.output, task_id="deliver", sync=SYNC, max_active_tis_per_dag=2)
    report = ReportOperator(task_id="report", sync=SYNC)

    chain(check, extract, [export_csv, deliver], report)
