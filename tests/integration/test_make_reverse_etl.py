"""`make reverse-etl` after `make run`: its ledger, its database and sandbox, and nothing left running."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from devstack.database import PrivateServer
from devstack.layout import Layout
from tests.conftest import ROOT
from tests.integration.test_make_run import left_running, make_run

pytestmark = pytest.mark.integration


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("dags", "plugins", "include"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def reverse_etl(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    command = [sys.executable, "-m", "devstack.reverse_etl_command", *arguments]
    return subprocess.run(
        command, cwd=root, env=env | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


def change(root: Path, statement: str) -> None:
    with PrivateServer(Layout(root).database) as server, closing(server.connect()) as connection:
        connection.cursor().execute(statement)


def test_the_makefile_hands_over_the_event_to_refuse() -> None:
    told = subprocess.run(
        ["make", "--dry-run", "run", "REFUSE_EVENT=page_view"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout.rstrip().endswith("--date '2026-01-13' --refuse-event 'page_view'")


def test_before_the_first_run_it_says_what_to_do(root: Path) -> None:
    done = reverse_etl(root, "quarantine", "list")
    assert done.returncode == 1
    assert done.stderr == "error: Nothing was sent from this folder yet: begin with make run or make up.\n"


def test_a_refused_row_is_seen_mended_and_sent(root: Path) -> None:
    assert make_run(root, "--date", "2026-01-12").returncode == 0
    checked = reverse_etl(root, "check", "iterable_page_views")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "gives all columns, of types that fit" in checked.stdout
    change(root, "UPDATE customers SET email = CONCAT('malformed', id) ORDER BY id LIMIT 1000")
    assert make_run(root, "--date", "2026-01-13").returncode == 1
    listed = reverse_etl(root, "quarantine", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "iterable_page_views  invalid  email_malformed      5" in listed.stdout
    change(root, "UPDATE customers SET email = CONCAT('mended', id, '@example.com')")
    replayed = reverse_etl(root, "quarantine", "replay", "iterable_page_views")
    assert replayed.returncode == 0, replayed.stderr
    assert "0 calls of the sync are in quarantine." in replayed.stdout
    assert left_running(root) == []


def test_the_commands_of_the_page_refuse_show_and_replay(root: Path) -> None:
    page = (ROOT / "docs/quarantine.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("make ")]
    assert lines == [
        "make run REFUSE_EVENT=page_view",
        "make reverse-etl ARGS='quarantine show iterable_page_views'",
        "make reverse-etl ARGS='quarantine replay iterable_page_views'",
    ]
    refused = make_run(root, "--date", "2026-01-13", "--refuse-event", "page_view")
    assert refused.returncode == 1
    assert "iterable_page_views: 5 of 5 rows were not delivered" in refused.stderr
    assert "customerio_page_views for 2026-01-13: success" in refused.stdout
    shown = reverse_etl(root, "quarantine", "show", "iterable_page_views")
    assert shown.stdout.count("event_track  rejected  event_disallowed") == 5
    replayed = reverse_etl(root, "quarantine", "replay", "iterable_page_views")
    assert replayed.returncode == 0, replayed.stderr
    assert "0 calls of the sync are in quarantine." in replayed.stdout
