"""The command as a process of its own: its entry, and the Airflow it finds."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from reverse_etl.cli import main
from tests.conftest import ROOT


def reverse_etl(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reverse_etl", *arguments]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=120)


def test_the_console_script_is_the_command() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["reverse-etl"].partition(":")
    assert getattr(import_module(module), name) is main


@pytest.mark.parametrize("arguments", [["--help"], ["quarantine", "replay", "--help"], ["purge", "--help"]])
def test_help_needs_no_airflow(arguments: list[str]) -> None:
    check = "import sys, reverse_etl.cli; code = 1\ntry: reverse_etl.cli.main(sys.argv[1:])\nfinally:"
    check += " sys.exit('airflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: reverse-etl")


@pytest.mark.integration
def test_it_finds_the_ledger_of_the_configuration(tmp_path: Path) -> None:
    path = f"{tmp_path}/other.db"
    done = reverse_etl("quarantine", "list", AIRFLOW__REVERSE_ETL__LEDGER_PATH=path, AIRFLOW_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"reverse-etl: there is no ledger at {path} yet")


@pytest.mark.integration
def test_it_finds_the_ledger_of_a_connection_in_airflows_database(tmp_path: Path) -> None:
    home = {"AIRFLOW_HOME": str(tmp_path / "home")}
    add = "connections add reverse_etl_ledger --conn-type mysql --conn-host 127.0.0.1 --conn-port 9 --conn-schema kept"
    for words in ("db migrate", add):
        command = [sys.executable, "-m", "airflow", *words.split()]
        done = subprocess.run(command, env=os.environ | home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    done = reverse_etl("quarantine", "list", **home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("reverse-etl: the ledger at ")
    assert "127.0.0.1:9/kept" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.integration
def test_another_folder_of_dag_files_may_be_named(tmp_path: Path) -> None:
    arguments = ("quarantine", "replay", "iterable_page_views", "--dry-run")
    variables = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path)}
    without = reverse_etl(*arguments, **variables)
    assert without.stderr == "reverse-etl: no DAG has a sync named 'iterable_page_views'; there are none\n"
    found = reverse_etl(*arguments, "--dags-folder", str(ROOT / "dags"), **variables)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("reverse-etl: there is no ledger at ")
