"""The example of docs/preview.md, from a preview to a delivery and once more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devstack.database import PrivateServer
from reverse_etl.delivery.plan import merged
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from tests.database import run as run_sql
from tests.docs.conftest import SIGNUPS
from tests.docs.pages import block, code, output_of, table
from tests.docs.test_quarantine import Run, command, database
from tests.operators.conftest import Finished, register

__all__ = ["command", "database"]


@pytest.fixture
def bad_day(
    metadata: None,
    database: dict[str, object],
    platform: SandboxServer,
    server: PrivateServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], None]:
    """The example before its first run; a function that changes the source."""
    platform.reset()
    connection = {"conn_type": "iterable", "host": platform.url, "password": SERVER_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_ITERABLE_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(database))
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__STAGING_PATH", f"file://{tmp_path}/staging")
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__OUTPUT_PATH", f"file://{tmp_path}/output")
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__LEDGER_PATH", f"{tmp_path}/ledger.db")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(SIGNUPS))
    return lambda statement: run_sql(lambda: server.connect(str(database["schema"])), statement)


def triggered(command_line: str, output: Path) -> Finished:
    """Run the DAG with the conf of a command that triggers it."""
    from airflow.dag_processing.dagbag import DagBag

    conf: dict[str, Any] = json.loads(command_line.split("--conf '")[1].rstrip().removesuffix("'"))
    dag = DagBag(str(SIGNUPS)).dags["trial_signups"]
    register(dag)
    return Finished(dag.test(run_conf=conf), output)


@pytest.mark.integration
def test_the_example_is_what_happens(
    command: Run, bad_day: Callable[[str], None], platform: SandboxServer, tmp_path: Path
) -> None:
    assert command(block("preview-new")) == output_of("preview-new")
    assert platform.stats()["requests_total"] == 0
    assert triggered(block("preview-deliver"), tmp_path / "output").counts == {"read": 2, "delivered": 1, "invalid": 1}
    bad_day("UPDATE trials SET company = 'Vogel GmbH' WHERE id = 4")
    before = platform.stats()["requests_total"]
    assert command(block("preview-changed")) == output_of("preview-changed")
    assert platform.stats()["requests_total"] == before
    assert triggered(block("preview-deliver-changed"), tmp_path / "output").counts == {
        "read": 2,
        "delivered": 1,
        "invalid": 1,
    }
    assert platform.stats()["requests_total"] == before + 1
    assert list((tmp_path / "staging").glob("reverse-etl/*")) == []


def test_the_rows_of_the_table_are_those_a_preview_counts() -> None:
    assert [code(cells[0]) for cells in table("docs/preview.md", "rows")] == list(merged([], {})["rows"])
