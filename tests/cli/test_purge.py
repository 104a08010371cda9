"""`reverse-etl purge`: counts on the screen, and nothing else about anybody."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Quarantine, answered_on_a_terminal
from tests.conftest import ROOT
from tests.operators.conftest import Finished

pytestmark = pytest.mark.integration

Add = Callable[..., None]

ZOE = "Zo\u00eb@example.com"


@pytest.fixture
def day(run_sync: Callable[..., Finished], views: Add, reverse_etl: Command) -> None:
    """A run with a row of Ada, one of Zoë and a refused one."""
    views("ada@example.com")
    views(ZOE, first_name="Plantedzoe")
    views("planted-malformed")
    assert run_sync().counts == {"read": 3, "delivered": 2, "invalid": 1}


def csv_lines(tmp_path: Path) -> int:
    [path] = (tmp_path / "output").rglob("query_results_*.csv")
    return len(path.read_text().splitlines())


def numbers(table: str) -> dict[str, int]:
    lines = [line.rsplit(maxsplit=1) for line in table.splitlines()[1:]]
    return {name.strip(): int(number) for name, number in lines if number.isdigit()}


WRONG_USE: list[tuple[list[str], str]] = [
    ([], "one of the arguments --older-than --person is required"),
    (["--older-than", "0"], "'0' is not a whole number of 1 or more"),
    (["--older-than", "90", "--person"], "not allowed with argument"),
    (["--older-than", "90", "--email", ZOE], "go with --person"),
    (["--older-than", "90", "--dry-run"], "--dry-run goes with --person"),
    (["--person", "--email", ZOE], "there is no terminal to ask on; add --yes"),
    (["--person"], "--person needs --email, --user-id, or --sync with --key-values"),
    (["--person", "--email", ZOE, "--states-older-than", "9"], "--states-older-than goes with --older-than"),
    (["--person", "--key-values", "1"], "every --key-values needs its own --sync before it"),
    (["--person", "--sync", "views"], "every --key-values needs its own --sync before it"),
    (["--person", "--sync", "view", "--key-values", "1"], "no DAG has a sync named 'view'"),
    (["--person", "--email", "-", "--user-id", "-"], "only one of --email and --user-id may be -"),
    (["--person", "--email", " "], "an identifier is empty"),
]


def test_wrong_use_removes_nothing(day: None, reverse_etl: Command, tmp_path: Path) -> None:
    for arguments, message in WRONG_USE:
        answer = reverse_etl("purge", *arguments)
        assert (answer.code, answer.out) == (2, ""), arguments
        assert message in answer.err
        assert answer.err.count("\n") == 1
        assert csv_lines(tmp_path) == 4, arguments


def test_a_dag_file_that_cannot_be_read_stops_the_purge_of_a_person(
    day: None, reverse_etl: Command, tmp_path: Path
) -> None:
    (tmp_path / "dags/broken.py").write_text("from airflow.sdk import DAG\nimport reverse_etl.no_such_module\n")
    answer = reverse_etl("purge", "--person", "--email", ZOE)
    assert answer.code == 2
    assert "broken.py could not be imported, so rows of its syncs would be missed; mend it first" in answer.err
    assert csv_lines(tmp_path) == 4


def test_a_person_leaves_and_only_counts_are_shown(day: None, reverse_etl: Command, tmp_path: Path) -> None:
    answer = reverse_etl("purge", "--person", "--email", ZOE.upper(), "--yes")
    assert answer.code == 0
    assert numbers(answer.out) == {
        "staged rows": 1,
        "exported rows": 1,
        "row results": 4,
        "outcomes": 2,
        "row states": 0,
        "quarantined calls": 0,
        "unfinished files": 0,
    }
    assert "Hashed keys known of the person: 1; files written anew: 6." in answer.out
    assert csv_lines(tmp_path) == 3
    written = (answer.out + answer.err).lower()
    assert "zo" not in written
    assert "planted" not in written


def test_a_dry_run_counts_what_a_purge_then_removes(day: None, reverse_etl: Command, tmp_path: Path) -> None:
    counted = reverse_etl("purge", "--person", "--email", ZOE, "--dry-run")
    assert counted.code == 0
    assert counted.out.endswith(
        "Hashed keys known of the person: 1; files that hold them: 6.\nDry run: nothing was removed.\n"
    )
    assert csv_lines(tmp_path) == 4
    removed = reverse_etl("purge", "--person", "--email", ZOE, "--yes")
    assert numbers(removed.out) == numbers(counted.out)
    assert csv_lines(tmp_path) == 3
    again = reverse_etl("purge", "--person", "--email", ZOE, "--dry-run")
    assert set(numbers(again.out).values()) == {0}


def test_somebody_of_whom_nothing_is_kept_is_told_as_such(day: None, reverse_etl: Command, tmp_path: Path) -> None:
    for further in ("--dry-run", "--yes"):
        answer = reverse_etl("purge", "--person", "--email", "nobody@example.com", further)
        assert answer.code == 0
        assert set(numbers(answer.out).values()) == {0}
        assert answer.out.splitlines()[-1].startswith("Nothing about them was found. Check the spelling")
    asked = answered_on_a_terminal("y", "purge", "--person", "--email", "nobody@example.com")
    assert (asked.code, "for good?" in asked.err) == (0, False)
    assert csv_lines(tmp_path) == 4


def test_a_dry_run_without_a_ledger_makes_none(reverse_etl: Command, tmp_path: Path) -> None:
    answer = reverse_etl("purge", "--person", "--email", ZOE, "--dry-run")
    assert answer.code == 0
    assert not (tmp_path / "ledger.db").exists()


def test_a_reader_that_has_enough_is_no_error(day: None) -> None:
    command = [sys.executable, "-m", "reverse_etl", "purge", "--person", "--email", ZOE, "--dry-run"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (141, "")


def test_on_a_terminal_it_shows_the_counts_and_asks(day: None, tmp_path: Path) -> None:
    for reply, lines in (("n", 4), ("", 4), ("y", 3)):
        answer = answered_on_a_terminal(reply, "purge", "--person", "--email", ZOE)
        assert "Remove all of it, for good? [y/N]" in answer.err
        assert answer.code == 0
        assert "exported rows           1" in answer.out
        assert ("Nothing was removed." in answer.out) is (lines == 4)
        assert csv_lines(tmp_path) == lines, reply


def test_identifiers_come_from_stdin(day: None, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "reverse_etl", "purge", "--person", "--email", "-", "--yes"]
    given = f"{ZOE}\n\n ada@example.com\n"
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert csv_lines(tmp_path) == 2


def test_an_empty_stdin_names_nobody_and_a_last_line_may_have_no_end(
    day: None, reverse_etl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, code, lines in (("\n", 2, 4), ("", 2, 4), (ZOE.upper(), 0, 3)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        answer = reverse_etl("purge", "--person", "--email", "-", "--yes")
        assert (answer.code, answer.err) == (code, "reverse-etl: an identifier is empty\n" if code else ""), given
        assert csv_lines(tmp_path) == lines, given


def test_a_row_is_named_by_its_key_values(
    day: None, reverse_etl: Command, tmp_path: Path, quarantine: Quarantine
) -> None:
    answer = reverse_etl(
        "purge", "--person", "--sync", "views", "--key-values", "3", "--sync", "views", "--key-values", "1", "--yes"
    )
    assert numbers(answer.out)["quarantined calls"] == 1
    assert csv_lines(tmp_path) == 2
    assert quarantine() == []


def test_files_of_an_unknown_sync_are_named(day: None, reverse_etl: Command, tmp_path: Path) -> None:
    (tmp_path / "dags/views.py").unlink()
    answer = reverse_etl("purge", "--person", "--email", ZOE, "--yes")
    assert "No DAG has the syncs views: their files were searched in every column" in answer.out
    assert csv_lines(tmp_path) == 3


def test_what_is_old_goes_by_age(day: None, reverse_etl: Command, tmp_path: Path, quarantine: Quarantine) -> None:
    moment = time.time() - 31 * 86_400
    for path in (tmp_path / "staging").rglob("*"):
        os.utime(path, (moment, moment))
    answer = reverse_etl("purge", "--older-than", "30", "--states-older-than", "60")
    assert answer.code == 0
    assert numbers(answer.out) == {
        "runs": 0,
        "outcomes": 0,
        "row states": 0,
        "quarantined calls": 0,
        "run folders": 1,
    }
    assert len(quarantine()) == 1
    assert csv_lines(tmp_path) == 4
