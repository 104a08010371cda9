"""make run as a user sees it, on a project folder with a DAG of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import processes

ROOT = Path(__file__).parents[2]

DAG = """
    import time
    from datetime import datetime
    from airflow.sdk import DAG, Param, task

    PARAMS = {"date": Param(None, type=["null", "string"], format="date")}

    with DAG("stand_in", schedule=None, start_date=datetime(2020, 1, 1), params=PARAMS):

        @task
        def extract(params):
            from airflow.providers.mysql.hooks.mysql import MySqlHook

            rows = MySqlHook("mysql_default").get_records("SELECT id FROM t")
            if params["date"] == "2026-01-01":
                time.sleep(60)
            if params["date"] == "2026-01-02":
                raise ValueError("first line\\nthe day is wrong")
            return [row[0] for row in rows]

        @task
        def deliver(number, params):
            print("delivering", number)
            if params["date"] == "2026-01-04":
                raise ValueError("the key is refused" if number == 1 else "the disk is full")

        @task(trigger_rule="all_done")
        def report(_, *, ti, params):
            if params["date"] == "2026-01-02":
                raise ValueError("nothing was extracted")
            problems = ["2 of 2 rows rejected"] if params["date"] == "2026-01-03" else []
            if params["date"] == "2026-01-04":
                problems = ["batch 0 stopped: the key is refused"]
            totals = {"read": 2, "delivered": 2 - len(problems), "rejected": len(problems)}
            ti.xcom_push("result", {"day": params["date"], "totals": totals, "seconds": 0.5, "problems": problems})
            if problems:
                raise ValueError("; ".join(problems))

        report(deliver.expand(number=extract()))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "my project"
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "stand_in.py").write_text(textwrap.dedent(DAG))
    (folder / "include" / "sql").mkdir(parents=True)
    (folder / "include" / "sql" / "schema.sql").write_text("CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY);")
    (folder / "include" / "sql" / "seed.sql").write_text("REPLACE INTO t VALUES (1), (2);")
    yield folder
    make("down", folder)


def make(module: str, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(module, *arguments), **surroundings(project), check=False)


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"devstack.{module}", *arguments]


def surroundings(project: Path) -> dict[str, object]:
    return {
        "cwd": project,
        "env": {**os.environ, "PYTHONPATH": str(ROOT)},
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }


def run(project: Path, date: str = "2026-01-13") -> subprocess.CompletedProcess[str]:
    return make("run", project, "--dag", "stand_in", "--date", date)


def belonging_to(project: Path) -> list[str]:
    """The command lines of all running processes that work in the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and processes.ProcessId.of(int(entry.name)) is not None:
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(project) in line:
                found.append(line)
    return found


@pytest.mark.parametrize("date", ["2026-13-01", "today"])
def test_a_bad_date_starts_nothing(project: Path, date: str) -> None:
    answer = run(project, date)
    assert answer.returncode == 2
    assert "DATE=" in answer.stderr
    assert not (project / ".local").exists()


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    answer = run(tmp_path)
    assert answer.returncode == 1
    assert "has no dags folder" in answer.stderr


def test_an_event_to_refuse_needs_the_sandbox(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ITERABLE_DEFAULT", '{"conn_type": "iterable", "password": "key"}')
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", '{"conn_type": "mysql", "host": "127.0.0.1"}')
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERIO_DEFAULT", '{"conn_type": "customerio", "password": "key"}')
    answer = make("run", project, "--dag", "stand_in", "--refuse-event", "page_view")
    assert answer.returncode == 1
    assert "REFUSE_EVENT needs the sandbox, but iterable_default is your own" in answer.stderr


def test_down_is_fine_when_nothing_runs(project: Path) -> None:
    answer = make("down", project)
    assert (answer.returncode, answer.stdout) == (0, "Nothing of this folder is running.\n")


@pytest.mark.integration
def test_each_ending_of_a_run_is_told_and_leaves_nothing_behind(project: Path) -> None:
    good = run(project)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "deliver [1]" in good.stdout
    assert good.stdout.count(" done\n") == 4
    assert "stand_in for 2026-01-13: success" in good.stdout
    assert "first run only" in good.stdout
    assert belonging_to(project) == []

    broken_task = run(project, "2026-01-02")
    assert broken_task.returncode == 1
    assert "not run" in broken_task.stdout
    assert "the day is wrong" not in broken_task.stdout
    assert "  stand_in: extract: the day is wrong\n" in broken_task.stderr
    assert "  stand_in: report: nothing was extracted\n" in broken_task.stderr

    refused = run(project, "2026-01-03")
    assert refused.returncode == 1
    assert refused.stderr.endswith("The run failed:\n  stand_in: 2 of 2 rows rejected\n")
    assert "stand_in for 2026-01-03: failed" in refused.stdout
    assert "rows rejected" not in refused.stdout
    assert "first run only" not in refused.stdout

    stopped = run(project, "2026-01-04")
    assert stopped.stderr.endswith(
        "The run failed:\n  stand_in: batch 0 stopped: the key is refused\n  stand_in: deliver [1]: the disk is full\n"
    )

    (project / "dags" / "stand_in.py").write_text("import airflow, nowhere_to_be_found  # DAG")
    unreadable = run(project)
    assert unreadable.returncode == 1
    assert "stand_in.py cannot be read: ModuleNotFoundError" in unreadable.stderr
    assert belonging_to(project) == []


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_behind(project: Path, number: signal.Signals) -> None:
    process = subprocess.Popen([*command("run", "--dag", "stand_in", "--date", "2026-01-01")], **surroundings(project))
    assert processes.wait_until(lambda: "Running statement" in log_of(project), 60), log_of(project)
    second = run(project)
    assert second.returncode == 1
    assert f"make run DATE=2026-01-01 (process {process.pid}) is at work in this folder" in second.stderr
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in {128 + number, -number}
    assert processes.wait_until(lambda: belonging_to(project) == [], 30), belonging_to(project)


def log_of(project: Path) -> str:
    return "".join(log.read_text(errors="replace") for log in (project / ".local" / "logs").glob("run-*.log"))


@pytest.mark.integration
def test_a_broken_seed_file_is_named(project: Path) -> None:
    (project / "include" / "sql" / "seed.sql").write_text("SELECT 1; SELEC 2;")
    answer = run(project)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "seed.sql, statement 2: " in answer.stderr
    assert belonging_to(project) == []
