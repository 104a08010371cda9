"""`make run` as a user runs it, without the installation: the project's own DAG, twice, and for another day."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.integration


def make_run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    command = [sys.executable, "-m", "devstack.run", *arguments]
    return subprocess.run(
        command, cwd=root, env=env | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("dags", "plugins", "include"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_a_day_runs_twice_another_day_has_its_own_answer_and_nothing_is_left_running(
    root: Path,
) -> None:
    outputs = []
    for day in ("2026-01-13", "2026-01-13", "2026-01-12"):
        done = make_run(root, "--date", day)
        assert done.returncode == 0, done.stdout + done.stderr
        assert left_running(root) == []
        outputs.append(" ".join(done.stdout.split()))
    first, again, earlier = outputs
    assert "read delivered unchanged invalid rejected suppressed failed seconds 5 5 0 0 0 0 0" in first
    assert "iterable_page_views for 2026-01-13: success" in first
    assert "customerio_page_views for 2026-01-13: success" in first
    assert "Iterable: 5 users, 5 events (0 arrived again" in first
    assert "Iterable: 5 users, 5 events (5 arrived again" in again
    assert "Customer.io: 5 people, 5 events (0 messages arrived again" in first
    assert "Customer.io: 5 people, 5 events (10 messages arrived again" in again
    assert first.count("report 0.") == 2
    assert "seconds 3 3 0 0 0 0 0" in earlier
    for name in ("query_results_20260113_235959.csv", "integration_results_20260113_235959.json"):
        for dag in ("iterable_page_views", "customerio_page_views"):
            assert (root / ".local/output" / dag / name).is_file()


def test_a_question_of_a_mirror_ends_it_because_nobody_can_answer(root: Path) -> None:
    dags = root / "own"
    dags.mkdir()
    for path in (ROOT / "docs/examples/mirror").iterdir():
        (dags / path.name).write_text(path.read_text())
    (root / "dags").unlink()
    dags.rename(root / "dags")
    query = root / "dags/pro_customers.sql"
    assert make_run(root, "--dag", "pro_customers").returncode == 0
    everybody = query.read_text()
    query.write_text(everybody.replace("WHERE ", "WHERE FALSE AND "))
    done = make_run(root, "--dag", "pro_customers")
    assert done.returncode == 1
    assert "pro_customers: approve_removal waits for somebody's answer" in done.stderr
    assert left_running(root) == []
    query.write_text(everybody)
    assert make_run(root, "--dag", "pro_customers").returncode == 0


def test_a_date_that_is_none_is_refused_before_anything_starts(root: Path) -> None:
    done = make_run(root, "--date", "13.01.2026")
    assert done.returncode != 0
    assert "2026-01-13" in done.stderr


def left_running(root: Path) -> list[str]:
    """Return the processes that name the folder in their command."""
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if str(root).encode() in _content(path)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
