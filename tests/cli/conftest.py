"""The sync of the operators' tests, and the command over what its runs left."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from reverse_etl.cli.main import run
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import QuarantinedCall
from tests.conftest import ROOT
from tests.operators.conftest import airflow, connections, run_sync, sandbox, shared_sandbox, shop
from tests.operators.dag_files import write_dag
from tests.operators.test_bad_days import views

__all__ = ["airflow", "connections", "run_sync", "sandbox", "shared_sandbox", "shop", "views"]


@dataclass(frozen=True)
class Answer:
    """What a command wrote and how it ended."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        return " ".join(self.out.split())


Command = Callable[..., Answer]


def answered_on_a_terminal(reply: str, *arguments: str) -> Answer:
    """Run the command as a process of its own on a terminal, on which somebody types this line."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "reverse_etl", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        os.close(theirs)
        os.write(ours, f"{reply}\n".encode())
        out, err = process.communicate(timeout=60)
        os.close(ours)
    return Answer(process.returncode, out.decode(), err.decode())


Quarantine = Callable[[], list[QuarantinedCall]]


@pytest.fixture
def reverse_etl(
    connections: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Return a function that runs the command in this process, over the DAG file of the sync `views`."""
    write_dag(tmp_path / "dags")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))

    def command(*arguments: str) -> Answer:
        capsys.readouterr()
        try:
            code = run(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        written = capsys.readouterr()
        return Answer(code, written.out, written.err)

    return command


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    def listed() -> list[QuarantinedCall]:
        with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
            return list(ledger.quarantine.calls("views"))

    return listed
