"""The example of docs/preview.md, from a preview to a delivery and once more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devstack.database import PrivateServer
from reverse_etl.delivery.plan import merged
from reverse_etl.sandbox.testing import SandboxServer
from tests.database import run as run_sql
from tests.docs.conftest import SIGNUPS, Bash, Run, command_in, lead_to
from tests.docs.pages import block, code, output_of, table
from tests.operators.conftest import Finished, register


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
    lead_to(monkeypatch, tmp_path, platform, database, SIGNUPS)
    return lambda statement: run_sql(lambda: server.connect(str(database["schema"])), statement)


@pytest.fixture
def command(bash: Bash, bad_day: None, tmp_path: Path) -> Run:
    return command_in(bash, tmp_path)


def triggered(command_line: str, output: Path) -> Finished:
    """Run the DAG with the conf of a command that triggers it."""
    from airflow.dag_processing.dagbag import DagBag

    conf: dict[str, Any] = json.loads(command_line.split("--conf '")[1].rstrip().removesuffix("'"))
    dag = DagBag(str(SIGNUPS)).dags["trial_signups"]
    register(dag)
    return Finished(dag.test(run_conf=conf), output)


def deliveries(platform: SandboxServer) -> dict[str, int]:
    """Requests that carried calls; the task `check` asks the project about itself besides."""
    requests = platform.stats()["requests"]
    carrying = [endpoint for endpoint in requests if endpoint.endswith(("bulkUpdate", "trackBulk"))]
    return {endpoint: sum(requests[endpoint].values()) for endpoint in carrying}


@pytest.mark.integration
def test_the_example_is_what_happens(
    command: Run, bad_day: Callable[[str], None], platform: SandboxServer, tmp_path: Path
) -> None:
    assert command(block("preview-new")) == output_of("preview-new")
    assert platform.stats()["requests_total"] == 0
    assert triggered(block("preview-deliver"), tmp_path / "output").counts == {"read": 2, "delivered": 1, "invalid": 1}
    bad_day("UPDATE trials SET company = 'Vogel GmbH' WHERE id = 4")
    before, delivered = platform.stats()["requests_total"], deliveries(platform)
    assert delivered == {"POST /api/users/bulkUpdate": 1, "POST /api/events/trackBulk": 1}
    assert command(block("preview-changed")) == output_of("preview-changed")
    assert platform.stats()["requests_total"] == before
    assert triggered(block("preview-deliver-changed"), tmp_path / "output").counts == {
        "read": 2,
        "delivered": 1,
        "invalid": 1,
    }
    assert deliveries(platform) == {**delivered, "POST /api/users/bulkUpdate": 2}
    assert list((tmp_path / "staging").glob("reverse-etl/*")) == []


def test_the_rows_of_the_table_are_those_a_preview_counts() -> None:
    assert [code(cells[0]) for cells in table("docs/preview.md", "rows")] == list(merged([], {})["rows"])
