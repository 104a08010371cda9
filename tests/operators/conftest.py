from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from devstack.database import PrivateServer
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.mapping import Constant, Field
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from reverse_etl.sync import Sync
from tests.conftest import ROOT

DAY = "2026-01-13"


@pytest.fixture(scope="session")
def airflow() -> None:
    """Make the metadata database of the session."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as started:
        yield started


@pytest.fixture
def sandbox(shared_sandbox: SandboxServer) -> SandboxServer:
    shared_sandbox.reset()
    return shared_sandbox


@pytest.fixture
def shop(server: PrivateServer) -> Callable[..., list[tuple[Any, ...]]]:
    """Load the example data; return a function that runs statements on it as the administrator."""
    server.load_sql(ROOT / "include/sql/schema.sql")

    def run(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())

    run("DELETE FROM page_views")
    run("DELETE FROM customers")
    server.load_sql(ROOT / "include/sql/seed.sql")
    return run


@pytest.fixture
def connections(
    airflow: None, server: PrivateServer, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Point Airflow at the servers of the test; the returned function changes the Iterable connection."""

    def iterable(**changes: object) -> None:
        connection = {"conn_type": "iterable", "host": sandbox.url, "password": SERVER_KEY, **changes}
        monkeypatch.setenv("AIRFLOW_CONN_ITERABLE_DEFAULT", json.dumps(connection))

    iterable()
    without_dag_files(monkeypatch.setenv, tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(server.airflow_connection()))
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__STAGING_PATH", f"file://{tmp_path}/staging")
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__OUTPUT_PATH", f"file://{tmp_path}/output")
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__LEDGER_PATH", f"{tmp_path}/ledger.db")
    return iterable


class Finished:
    """A run that ended, with what its tasks pushed."""

    def __init__(self, run: Any, output: Path) -> None:
        self.run = run
        self.output = output
        self.state = str(run.state)
        self.tasks = {(ti.task_id, ti.map_index): ti for ti in run.get_task_instances()}

    def states(self, task_id: str) -> list[str]:
        return [str(ti.state) for (name, _), ti in sorted(self.tasks.items()) if name == task_id]

    def tries(self, task_id: str) -> int:
        return max(ti.try_number for (name, _), ti in self.tasks.items() if name == task_id)

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            query = XComModel.get_many(
                run_id=self.run.run_id, dag_ids=self.run.dag_id, task_ids=task_id, key=key, map_indexes=map_index
            )
            found = session.scalars(query.with_only_columns(XComModel)).first()
            return None if found is None else XComModel.deserialize_value(found)

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = self.xcom("report", "result")
        return result

    @property
    def counts(self) -> dict[str, int]:
        return {name: count for name, count in self.result["totals"].items() if count}


def clear(dag: Any, finished: Finished, *task_ids: str) -> Finished:
    """Clear tasks of a run of the DAG, not those after them, as a person does; run them as `dag.test` does."""
    from airflow.models.taskinstance import clear_task_instances
    from airflow.sdk.definitions.dag import _run_task
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.settings import Session
    from airflow.utils.state import DagRunState, TaskInstanceState

    session = Session()
    run = session.merge(finished.run)
    run.dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    cleared = [ti for ti in run.get_task_instances(session=session) if ti.task_id in task_ids]
    clear_task_instances(cleared, session, dag_run_state=DagRunState.RUNNING)
    session.commit()
    while run.state == DagRunState.RUNNING:
        session.expire_all()
        due, _ = run.update_state(session=session)
        for ti in due:
            ti.try_number += ti.state != TaskInstanceState.UP_FOR_RESCHEDULE
            ti.state = TaskInstanceState.SCHEDULED
        session.commit()
        scheduled = run.get_task_instances(state=[TaskInstanceState.SCHEDULED], session=session)
        for ti in scheduled:
            _run_task(ti=ti, task=dag.task_dict[ti.task_id], run_triggerer=True)
        if not scheduled:
            time.sleep(0.2)
    return Finished(run, finished.output)


def local(url: str) -> Path:
    return Path(url.removeprefix("file://"))


@pytest.fixture
def run_page_views(connections: Callable[..., None], tmp_path: Path) -> Callable[..., Finished]:
    """Return a function that runs the DAG of the project by `dag.test`, with params."""

    def run(**params: object) -> Finished:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(ROOT / "dags"))
        assert bag.import_errors == {}
        dag = bag.dags["iterable_page_views"]
        register(dag)
        return Finished(dag.test(run_conf={"date": DAY, **params}), tmp_path / "output")

    return run


QUERY = """
SELECT id AS view_id, email, first_name, candidate, page, event_time FROM views
WHERE event_time >= %(window_start)s AND event_time < %(window_end)s ORDER BY id
"""


@pytest.fixture
def run_sync(connections: Callable[..., None], tmp_path: Path) -> Callable[..., Finished]:
    """Return a function that runs a sync over a query of the test's own, with one retry and no waiting."""

    def run(
        query: str = QUERY,
        *,
        key: str = "view_id",
        destination: Any = None,
        consent: Any = None,
        concurrent: Literal["wait", "refuse"] = "wait",
        deliver: Any = None,
        retries: int = 1,
        sync_sends: Literal["all", "changed"] = "all",
        **params: object,
    ) -> Finished:
        path = tmp_path / "views.sql"
        path.write_text(query)
        sends_to = destination or default_destination()
        sync = Sync("views", path, (key,), sends_to, send=sync_sends, consent=consent, concurrent=concurrent)
        dag = build_dag(sync, deliver, retries=retries)
        register(dag)
        return Finished(dag.test(run_conf={"date": DAY, **params}), tmp_path / "output")

    return run


def default_destination(calls: Literal["bulk", "single"] = "single") -> IterableDestination:
    return IterableDestination(
        calls=calls,
        email="email",
        user=UserUpdate((Field("first_name"), Field("candidate", kind="boolean"), Constant("recent_page_view", True))),
        event=EventTrack("page_view", created_at="event_time", fields=(Field("page"),)),
    )


def build_dag(sync: Sync, deliver_operator: Any = None, *, retries: int = 1) -> Any:
    from airflow.sdk import DAG, chain

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
        default_args={"retries": retries, "retry_delay": timedelta(0)},
    ) as dag:
        extract = ExtractOperator(task_id="extract", sync=sync)
        export_csv = ExportCsvOperator(task_id="export_csv", sync=sync)
        deliver = (deliver_operator or DeliverOperator).over(extract.output, task_id="deliver", sync=sync)
        chain(extract, [export_csv, deliver], ReportOperator(task_id="report", sync=sync))
    return dag


def without_dag_files(setenv: Callable[[str, str], None], folder: Path) -> None:
    """Leave Airflow a folder without DAG files, all of which `dag.test` reads before every run; see `register`."""
    empty = folder / "no-dags"
    empty.mkdir(exist_ok=True)
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundle = {"name": "testing", "classpath": local, "kwargs": {"path": str(empty)}}
    setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))


def register(dag: Any) -> None:
    """Write a DAG to the metadata database, as `dag.test` expects."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        session.merge(DagBundleModel(name="testing"))
    bag = DagBag(dag_folder="/dev/null", collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "testing", None)
