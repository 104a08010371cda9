"""The example and the commands of docs/incremental.md, on a database, the sandbox and a ledger."""

from __future__ import annotations

import json
import re
import sys
from contextlib import closing
from pathlib import Path

import pytest

from devstack.database import PrivateServer
from reverse_etl.incremental import Incremental
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from tests.conftest import ROOT
from tests.docs.conftest import Bash
from tests.docs.pages import block, code, output_of, table
from tests.operators.conftest import Finished, register

pytestmark = pytest.mark.integration

EXAMPLE = ROOT / "docs/examples/incremental"
CUSTOMERS = """
INSERT INTO customers (id, email, first_name, last_name, plan_type, updated_at) VALUES
(1, 'ines.costa@example.com', 'Ines', 'Costa', 'pro', '2026-01-13 07:30:00'),
(2, 'lena.vogel@example.org', 'Lena', 'Vogel', 'free', '2026-01-13 08:00:00'),
(3, 'tom.reed@example.net', 'Tom', 'Reed', 'basic', '2026-01-13 08:00:00')
"""


def test_the_arguments_of_the_table_are_those_of_the_class() -> None:
    named = [code(cells[0]) for cells in table("docs/incremental.md", "argument")]
    assert named == list(Incremental.__dataclass_fields__)


def test_the_example_reads_on_and_its_watermark_is_shown_and_set(
    metadata: None,
    server: PrivateServer,
    platform: SandboxServer,
    bash: Bash,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform.reset()
    monkeypatch.setenv(
        "AIRFLOW_CONN_ITERABLE_DEFAULT",
        json.dumps({"conn_type": "iterable", "host": platform.url, "password": SERVER_KEY}),
    )
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__STAGING_PATH", f"file://{tmp_path}/staging")
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__OUTPUT_PATH", f"file://{tmp_path}/output")
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__LEDGER_PATH", f"{tmp_path}/ledger.db")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(EXAMPLE))
    script = tmp_path / "bin" / "reverse-etl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m reverse_etl "$@"\n')
    script.chmod(0o755)

    def command(text: str) -> str:
        return bash(f'PATH="{script.parent}:$PATH"\n{text}')

    with closing(server.connect()) as connection, connection.cursor() as cursor:
        server.load_sql(ROOT / "include/sql/schema.sql")
        cursor.execute("DELETE FROM customers")
        cursor.execute(CUSTOMERS)
        monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(server.airflow_connection()))
        assert run_example(tmp_path).counts == {"read": 3, "delivered": 3}
        shown = command(block("watermark-show"))
        assert _shape(shown) == _shape(output_of("watermark-show"))
        # Rows within the overlap of ten minutes are read again.
        assert run_example(tmp_path).counts == {"read": 2, "unchanged": 2}
        command(block("watermark-set"))
        assert run_example(tmp_path).counts == {"read": 3, "unchanged": 3}
        cursor.execute("DELETE FROM customers")
    platform.reset()


def run_example(folder: Path) -> Finished:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(EXAMPLE))
    assert bag.import_errors == {}
    dag = bag.dags["customer_profiles"]
    register(dag)
    return Finished(dag.test(), folder / "output")


def _shape(text: str) -> list[str]:
    """The words, without the moment and the name of the run."""
    return re.sub(r"\S+ \S+ +manual__\S+", "WHEN WHO", text).split()
