"""The sync and the DAG of these tests; also imported by the DAG file of the live Airflow and by worker processes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.mapping import Constant, Field
from reverse_etl.sync import Sync
from tests.reliability.source import EVENT

Calls = Literal["bulk", "single"]


def make_sync(
    name: str, query: Path, calls: Calls, *, conn_id: str = "iterable_default", failure_share: float = 0.1
) -> Sync:
    """Return the sync of the table `name`."""
    profile = (
        Field("first_name"),
        Field("candidate", kind="boolean"),
        Field("score"),
        Constant("recent_page_view", value=True),
    )
    event = (Field("view_id"), Field("page"), Field("detail", kind="json"), Field("seen", column="event_time"))
    return Sync(
        name=name,
        query=query,
        key=("view_id",),
        destination=IterableDestination(
            conn_id=conn_id,
            calls=calls,
            email="email",
            user=UserUpdate(profile),
            event=EventTrack(EVENT, created_at="event_time", fields=event),
        ),
        failure_share=failure_share,
    )


def make_dag(
    sync: Sync,
    *,
    retries: int,
    retry_seconds: float = 0,
    before: str = "",
    disturb: Callable[[], None] | None = None,
) -> Any:
    """Return the DAG of a sync.

    `disturb`, if any, runs as a task of its own right before the task named `before`.
    """
    from airflow.sdk import DAG, chain
    from airflow.sdk import task as make_task

    from reverse_etl.operators.deliver import DeliverOperator
    from reverse_etl.operators.export_csv import ExportCsvOperator
    from reverse_etl.operators.extract import ExtractOperator
    from reverse_etl.operators.params import sync_params
    from reverse_etl.operators.report import ReportOperator

    with DAG(
        dag_id=sync.name,
        schedule=None,
        start_date=datetime(2020, 1, 1, tzinfo=UTC),
        params=sync_params(),
        default_args={"retries": retries, "retry_delay": timedelta(seconds=retry_seconds)},
    ) as dag:
        extract = ExtractOperator(task_id="extract", sync=sync)
        export_csv = ExportCsvOperator(task_id="export_csv", sync=sync)
        deliver = DeliverOperator.over(extract.output, task_id="deliver", sync=sync)
        report = ReportOperator(task_id="report", sync=sync)
        if disturb is None:
            chain(extract, [export_csv, deliver], report)
        else:
            disturbed = make_task(disturb, task_id="disturb")()
            chain(extract, export_csv, *((disturbed, deliver) if before == "deliver" else (deliver, disturbed)), report)
    return dag


def register(dag: Any) -> None:
    """Write a DAG that is in no file to the metadata database, as `dag.test` expects."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        session.merge(DagBundleModel(name="testing"))
    bag = DagBag(dag_folder="/dev/null", collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "testing", None)


def pushed_result(run: Any) -> Any:
    """Return what the report of a run pushed, None when it did not come to that."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        query = XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id, task_ids="report", key="result")
        found = session.scalars(query.with_only_columns(XComModel)).first()
        return None if found is None else XComModel.deserialize_value(found)
