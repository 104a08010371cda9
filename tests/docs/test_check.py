"""The command of docs/check.md, and what the page says of its options and limits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reverse_etl.customerio.checks import LONGEST_ATTRIBUTE_BYTES, LONGEST_EVENT_BYTES, MOST_ATTRIBUTES, RESERVED
from reverse_etl.iterable.limits import LIMITS, Endpoint
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from tests.docs.conftest import SIGNUPS, Bash
from tests.docs.pages import block, codes, output_of, read, table
from tests.docs.test_quarantine import database

__all__ = ["database"]

PAGE = "docs/check.md"


def test_the_numbers_are_those_of_the_code() -> None:
    page = read(PAGE)
    assert f"more than {LONGEST_ATTRIBUTE_BYTES} bytes or of an event of more than {LONGEST_EVENT_BYTES}" in page
    assert f"more than {MOST_ATTRIBUTES} attributes" in page
    assert f"limit of {LIMITS[Endpoint.USER_FIELDS].per_second:g} requests a second" in page
    assert {name for cells in table(PAGE, "what") for name in codes(cells[2])} == set(RESERVED)


def test_the_options_are_those_of_the_command(bash: Bash) -> None:
    shown = {name for cells in table(PAGE, "option") for name in codes(cells[0])}
    assert shown == set(re.findall(r"^  (--[a-z-]+)", bash("python -m reverse_etl check --help"), re.MULTILINE))


@pytest.mark.integration
def test_the_findings_are_those_shown(
    bash: Bash,
    metadata: None,
    database: dict[str, object],
    platform: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform.reset()
    known = {"first_name": "Ines", "Company": "Costa Lda", "interests": ["maps"]}
    platform.post("/api/users/update", {"email": "early@example.com", "dataFields": known})
    connection = {"conn_type": "iterable", "host": platform.url, "password": SERVER_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_ITERABLE_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(database))
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__LEDGER_PATH", f"{tmp_path}/ledger.db")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(SIGNUPS))
    script = block("check-sync").replace("reverse-etl", "python -m reverse_etl")
    assert bash(script) == output_of("check-sync")
    assert len(platform.users()) == 1
