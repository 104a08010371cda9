"""
### Page views to Customer.io

Every day, customers on the *pro* plan who looked at the pricing or settings page within the last seven days become
identified people in Customer.io and one `page_view` event each.

| task | what it does |
| --- | --- |
| `check` | compares the query's columns and Customer.io's settings with the mapping, before a row is read |
| `extract` | runs `include/sql/page_views/latest_view_per_user.sql` and writes the rows as Parquet batches |
| `export_csv` | writes all rows to `query_results_<end of day>.csv` |
| `deliver` | one task per batch: identifies the person, then tracks the event, in batches |
| `report` | writes `integration_results_<end of day>.json` and fails the run when rows are missing or too many failed |

One run handles one UTC day: a scheduled run the day that just ended, a backfill each day of its range, a run triggered
with a `date` that day, and one triggered without a date yesterday. Running a day again adds no event, because their
ids are derived from the rows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, CronDataIntervalTimetable, chain

from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.mapping import Constant, Field
from reverse_etl.operators.check import CheckOperator
from reverse_etl.operators.deliver import DeliverOperator
from reverse_etl.operators.export_csv import ExportCsvOperator
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.params import sync_params
from reverse_etl.operators.report import ReportOperator
from reverse_etl.sync import Sync

SYNC = Sync(
    name="customerio_page_views",
    query=Path(__file__).parents[1] / "include/sql/page_views/latest_view_per_user.sql",
    key=("page_view_id",),
    # Rows are page views, most of them new, and a week of them is little: there is not much to leave out.
    send="all",
    destination=CustomerIODestination(
        user_id="user_id",
        identify=Identify(
            fields=(
                Field("email"),
                Field("first_name"),
                Field("last_name"),
                Field("plan_type"),
                Field("candidate", kind="boolean"),
                Constant("recent_page_view", value=True),
            )
        ),
        track=Track(
            event="page_view",
            timestamp="event_time",
            fields=(
                Field("page"),
                Field("device"),
                Field("browser"),
                Field("location"),
                Field("candidate", kind="boolean"),
            ),
        ),
    ),
)

with DAG(
    dag_id=SYNC.name,
    description="Pro customers who looked at pricing or settings become Customer.io people and events.",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    params=sync_params(),
    tags=["reverse-etl", "customerio"],
    default_args={
        "owner": "data",
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
    },
):
    check = CheckOperator(task_id="check", sync=SYNC)
    extract = ExtractOperator(task_id="extract", sync=SYNC)
    export_csv = ExportCsvOperator(task_id="export_csv", sync=SYNC)
    # Two batches at once: one starts while the other sends, and both share the rate limit. More would only queue.
    deliver = DeliverOperator.over(extract.output, task_id="deliver", sync=SYNC, max_active_tis_per_dag=2)
    report = ReportOperator(task_id="report", sync=SYNC)

    chain(check, extract, [export_csv, deliver], report)
