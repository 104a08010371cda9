"""A DAG that mirrors its source, for the live Airflow; people who left are deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reverse_etl.iterable.config import DeleteUser, IterableDestination, UserUpdate
from reverse_etl.mapping import Field
from reverse_etl.mirror import Mirror
from reverse_etl.sync import Sync
from tests.reliability.live_dag import CONNECTION


def mirror_dag(query: Path) -> Any:
    """Return the DAG of the query's table, which is tried again without a wait and asks from 10 % on."""
    from airflow.sdk import DAG, chain

    from reverse_etl.operators.deliver import DeliverOperator
    from reverse_etl.operators.extract import ExtractOperator
    from reverse_etl.operators.mirror_tasks import ApproveRemovalOperator, FindLeavingOperator, RemoveOperator
    from reverse_etl.operators.params import sync_params
    from reverse_etl.operators.report import ReportOperator

    sync = Sync(
        name=query.stem,
        query=query,
        key=("id",),
        send="changed",
        mirror=Mirror(DeleteUser(), largest_share=0.1),
        destination=IterableDestination(conn_id=CONNECTION, email="email", user=UserUpdate((Field("first_name"),))),
    )
    with DAG(
        dag_id=sync.name,
        schedule=None,
        start_date=datetime(2020, 1, 1, tzinfo=UTC),
        params=sync_params(),
        default_args={"retries": 20, "retry_delay": timedelta(0)},
    ) as dag:
        extract = ExtractOperator(task_id="extract", sync=sync)
        deliver = DeliverOperator.over(extract.output, task_id="deliver", sync=sync)
        find = FindLeavingOperator(task_id="find_leaving", sync=sync)
        approve = ApproveRemovalOperator(task_id="approve_removal", sync=sync)
        remove = RemoveOperator.over(find.output, task_id="remove", sync=sync)
        chain(extract, deliver, find, approve, remove, ReportOperator(task_id="report", sync=sync))
    return dag
