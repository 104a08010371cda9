"""The example and the commands of docs/incremental.md, on a database, the sandbox and a ledger."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from devstack.database import PrivateServer
from reverse_etl.incremental import Incremental
from reverse_etl.sandbox.testing import SandboxServer
from tests.conftest import ROOT
from tests.docs.conftest import Bash, command_in, lead_to, run_example
from tests.docs.pages import block, code, output_of, table

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
    lead_to(monkeypatch, tmp_path, platform, server.airflow_connection(), EXAMPLE)
    command = command_in(bash, tmp_path)
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        server.load_sql(ROOT / "include/sql/schema.sql")
        cursor.execute("DELETE FROM customers")
        cursor.execute(CUSTOMERS)
        assert run_example(EXAMPLE, "customer_profiles", tmp_path).counts == {"read": 3, "delivered": 3}
        shown = command(block("watermark-show"))
        assert _shape(shown) == _shape(output_of("watermark-show"))
        # Rows within the overlap of ten minutes are read again.
        assert run_example(EXAMPLE, "customer_profiles", tmp_path).counts == {"read": 2, "unchanged": 2}
        command(block("watermark-set"))
        assert run_example(EXAMPLE, "customer_profiles", tmp_path).counts == {"read": 3, "unchanged": 3}
        cursor.execute("DELETE FROM customers")
    platform.reset()


def _shape(text: str) -> list[str]:
    """The words, without the moment and the name of the run."""
    return re.sub(r"\S+ \S+ +manual__\S+", "WHEN WHO", text).split()
