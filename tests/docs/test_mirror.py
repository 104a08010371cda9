"""The example of docs/mirror.md on a database and the sandbox, and the removals the page names."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from devstack.database import PrivateServer
from reverse_etl.customerio import config as customerio
from reverse_etl.iterable import config as iterable
from reverse_etl.sandbox.testing import SandboxServer
from tests.conftest import ROOT
from tests.docs.conftest import Bash, command_in, lead_to, run_example
from tests.docs.pages import block, codes, output_of, table

EXAMPLE = ROOT / "docs/examples/mirror"
INSERT = "INSERT INTO customers (id, email, first_name, last_name, plan_type) VALUES (%s, %s, 'Ines', 'Costa', 'pro')"


def test_the_removals_of_the_table_are_those_there_are() -> None:
    named = [codes(cells[1])[0] for cells in table("docs/mirror.md", "destination")]
    assert named == [
        "UserUpdate",
        "RemoveFromList",
        "DeleteUser",
        "Identify",
        "RemoveFromObject",
        "SuppressPerson",
        "DeletePerson",
    ]
    assert all(hasattr(iterable, name) for name in named[:3])
    assert all(hasattr(customerio, name) for name in named[3:])


@pytest.mark.integration
def test_the_example_takes_the_mark_off_who_left_the_plan(
    metadata: None,
    server: PrivateServer,
    platform: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bash: Bash,
) -> None:
    platform.reset()
    lead_to(monkeypatch, tmp_path, platform, server.airflow_connection(), EXAMPLE)
    server.load_sql(ROOT / "include/sql/schema.sql")
    command = command_in(bash, tmp_path)
    with closing(server.connect()) as connected, connected.cursor() as cursor:
        cursor.execute("DELETE FROM customers")
        for number in range(1, 21):
            cursor.execute(INSERT, (number, f"c{number}@example.com"))
        assert run_example(EXAMPLE, "pro_customers", tmp_path).counts == {"read": 20, "delivered": 20}
        cursor.execute("UPDATE customers SET plan_type = 'free' WHERE id IN (7, 8, 9)")
        assert command(block("preview-removed")) == output_of("preview-removed")
        cursor.execute("UPDATE customers SET plan_type = 'pro' WHERE id IN (8, 9)")
        second = run_example(EXAMPLE, "pro_customers", tmp_path)
        cursor.execute("DELETE FROM customers")
    assert second.counts == {"read": 19, "unchanged": 19}
    assert second.result["removals"]["outcomes"] == {"delivered": 1}
    unmarked = [user["email"] for user in platform.users() if not user["dataFields"]["pro"]]
    assert unmarked == ["c7@example.com"]
    platform.reset()
