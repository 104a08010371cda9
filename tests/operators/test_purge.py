"""What is old is forgotten, and everything about one person, in ledger, staged rows, exports and results."""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import Marked, RunRef
from reverse_etl.operators.base import hash_key
from reverse_etl.operators.purge import PurgedPerson, known_keys, purge_old, purge_person
from reverse_etl.operators.syncs import Syncs, find_syncs
from reverse_etl.sandbox.testing import SandboxServer
from tests.conftest import ROOT
from tests.operators.conftest import Finished, register
from tests.operators.dag_files import write_dag
from tests.operators.test_bad_days import views

__all__ = ["views"]

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Add = Callable[..., None]
Shop = Callable[..., list[tuple[Any, ...]]]

ZOE = "Zo\u00eb@example.com"
DAYS = timedelta(days=90)


@pytest.fixture
def syncs(connections: Callable[..., None], tmp_path: Path) -> Syncs:
    """The sync `run_sync` runs, as a DAG file has it."""
    write_dag(tmp_path / "dags")
    return find_syncs(tmp_path / "dags")


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def texts(folder: Path) -> dict[str, str]:
    """What is in the files of a folder, by their relative paths."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = repr(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_text()
            found[str(path.relative_to(folder))] = content
    return found


def holding(folder: Path, *words: str) -> list[str]:
    return [name for name, content in texts(folder).items() if any(word in content for word in words)]


def hashed(*values: object) -> str:
    return hash_key()(values)


# --- By age ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ages", [(timedelta(0), None), (DAYS, timedelta(hours=23))])
def test_an_age_below_a_day_is_refused(
    connections: Callable[..., None], ages: tuple[timedelta, timedelta | None]
) -> None:
    with pytest.raises(ConfigurationError, match="older than is 0 days, expected 1 or more"):
        purge_old(*ages)


def aged(folder: Path, days: float, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        moment = time.time() - days * 86_400
        os.utime(path, (moment, moment))


def test_only_whole_folders_of_old_runs_go(connections: Callable[..., None], tmp_path: Path) -> None:
    staging, output = tmp_path / "staging", tmp_path / "output"
    aged(staging, 91, "views/old/views/batch-00000.parquet", "views/old/views/schema.parquet")
    aged(staging, 91, "replay_quarantine/old/views/2026-01-13-7d/batch-00000.parquet")
    aged(staging, 91, "views/retried/views/batch-00000.parquet", "views/running/views/batch-00000.parquet")
    aged(staging, 1, "views/retried/views/results-00000.parquet", "views/young/views/batch-00000.parquet")
    aged(staging, 0, "views/running/views/.batch-00001.parquet.abcd.partial")
    aged(output, 91, "views/query_results_20250101_235959.csv")
    assert purge_old(DAYS).run_folders == 2
    assert sorted(str(path.relative_to(staging)) for path in staging.glob("*/*")) == [
        "views/retried",
        "views/running",
        "views/young",
    ]
    assert len(list((staging / "views").rglob("*.parquet"))) == 4
    assert (output / "views/query_results_20250101_235959.csv").exists()
    assert purge_old(DAYS).run_folders == 0


def test_a_folder_that_was_never_made_has_nothing_to_purge(connections: Callable[..., None]) -> None:
    assert purge_old(DAYS).run_folders == 0


def record(url: str, days_ago: float, run: str, *keys: str, sync: str = "views") -> None:
    with Ledger.open(url, clock=lambda: time.time() - days_ago * 86_400) as ledger:
        attempt = ledger.begin(RunRef("views", run, sync, 0, date(2026, 1, 13), 7))
        marks = [(key, outcome) for key in keys for outcome in (Outcome.DELIVERED, Outcome.REJECTED)]
        attempt.mark(
            0, [Marked(key, outcome.value, outcome, "code", 200, 1, None, b"f" * 16) for key, outcome in marks]
        )
        attempt.settle(0)


def test_the_ledger_forgets_old_outcomes_and_refusals_but_not_what_was_delivered(
    connections: Callable[..., None], ledger_url: str
) -> None:
    connections()
    old, young = hashed(1), hashed(2)
    record(ledger_url, 91, "old", old)
    record(ledger_url, 89, "young", young)
    purged = purge_old(DAYS).ledger
    assert (purged.runs, purged.outcomes, purged.quarantine, purged.row_states) == (1, 2, 1, 0)
    with Ledger.open(ledger_url) as ledger:
        assert [call.key for call in ledger.quarantine.calls("views")] == [young]
        assert (old, "delivered") in ledger.states("views", [old])
    assert purge_old(DAYS, DAYS).ledger.row_states == 2
    with Ledger.open(ledger_url) as ledger:
        assert ledger.states("views", [old]) == {}
        assert (young, "delivered") in ledger.states("views", [young])


def test_the_dag_of_the_project_purges(connections: Callable[..., None], ledger_url: str, tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    record(ledger_url, 91, "old", hashed(1))
    aged(tmp_path / "staging", 91, "views/old/views/batch-00000.parquet")
    dag = DagBag(str(ROOT / "dags/ledger_maintenance.py")).dags["ledger_maintenance"]
    register(dag)
    finished = Finished(dag.test(), tmp_path)
    assert finished.state == "success"
    assert finished.xcom("purge") == {"runs": 0, "outcomes": 2, "row_states": 0, "quarantine": 1, "run_folders": 1}


# --- One person ------------------------------------------------------------------------------------------------


@pytest.fixture
def day(run_sync: Run, views: Add, sandbox: SandboxServer, tmp_path: Path) -> Finished:
    """A day with two rows of one person, one of them refused, and one row of another person."""
    views("ada@example.com", first_name="Ada")
    views(ZOE, first_name="Plantedzoe")
    views(f"  {ZOE.upper()}", first_name="Plantedzoe")
    finished = run_sync()
    assert finished.counts == {"read": 3, "delivered": 2, "invalid": 1}
    assert len(holding(tmp_path / "staging", "Plantedzoe")) == len(holding(tmp_path / "output", "Plantedzoe")) == 1
    return finished


@pytest.mark.parametrize("email", [ZOE, ZOE.upper(), unicodedata.normalize("NFD", ZOE), f" {ZOE}"])
def test_nothing_about_the_person_is_left_and_nothing_else_is_gone(
    day: Finished, syncs: Syncs, tmp_path: Path, ledger_url: str, email: str
) -> None:
    purged = purge_person(syncs, emails=[email])
    assert (purged.rows_known, purged.staged_rows, purged.exported_rows) == (2, 2, 2)
    assert purged.ledger is not None
    assert (purged.ledger.outcomes, purged.ledger.row_states, purged.ledger.quarantine) == (3, 0, 1)
    assert purged.unknown_syncs == set()
    gone, kept = (hashed(2), hashed(3)), hashed(1)
    assert holding(tmp_path / "staging", "Plantedzoe", *gone) == holding(tmp_path / "output", "Plantedzoe", *gone) == []
    for folder, number in (("staging", 2), ("output", 2)):
        assert len(holding(tmp_path / folder, kept)) == number
        assert len(holding(tmp_path / folder, "ada@example.com")) == 1
    [summary] = [orjson.loads(path.read_bytes()) for path in (tmp_path / "output").rglob("*.json")]
    assert [result["key"] for result in summary["records"]] == [kept]
    with Ledger.open(ledger_url) as ledger:
        assert list(ledger.quarantine.calls("views")) == []
        assert {key for key, _ in ledger.states("views", [kept, *gone])} == {kept}
    again = purge_person(syncs, emails=[email])
    assert (again.rows_known, again.staged_rows, again.exported_rows, again.results, again.files) == (0, 0, 0, 0, 0)


def test_nobody_found_changes_no_file(day: Finished, syncs: Syncs, tmp_path: Path) -> None:
    def states() -> dict[Path, float]:
        return {
            path: path.stat().st_mtime_ns for folder in ("staging", "output") for path in (tmp_path / folder).rglob("*")
        }

    before = states()
    purged = purge_person(syncs, emails=["nobody@example.com"], user_ids=["1"])
    assert purged == PurgedPerson(ledger=purged.ledger)
    assert states() == before


def test_a_row_is_the_persons_under_its_earlier_email_too(
    day: Finished, run_sync: Run, syncs: Syncs, shop: Shop, tmp_path: Path
) -> None:
    shop("UPDATE views SET email = 'moved@example.com' WHERE id = 2")
    run_sync()
    assert len(holding(tmp_path / "staging", "Plantedzoe")) == 2
    purged = purge_person(syncs, emails=["moved@example.com"])
    assert (purged.rows_known, purged.staged_rows, purged.exported_rows) == (1, 2, 1)
    assert holding(tmp_path / "staging", hashed(2)) == holding(tmp_path / "output", hashed(2)) == []


def test_a_row_without_files_is_found_by_its_key_values(
    connections: Callable[..., None], syncs: Syncs, ledger_url: str
) -> None:
    record(ledger_url, 1, "young", hashed(7), hashed(8))
    keys = known_keys([("views", ["7"])], syncs)
    purged = purge_person(syncs, keys=keys)
    assert purged.ledger is not None
    assert (purged.rows_known, purged.ledger.outcomes, purged.ledger.quarantine) == (1, 2, 1)
    with Ledger.open(ledger_url) as ledger:
        assert [call.key for call in ledger.quarantine.calls("views")] == [hashed(8)]


@pytest.mark.parametrize(
    ("sync", "others", "left"),
    [
        ("trials", ["views", "trials"], 1),  # its key 7 is somebody else
        ("views__removal", ["views"], 0),
        ("called_views_once", ["views"], 0),
    ],
)
def test_a_key_is_the_persons_in_the_sync_it_was_found_in(
    syncs: Syncs, ledger_url: str, sync: str, others: list[str], left: int
) -> None:
    record(ledger_url, 1, "young", hashed(7), sync=sync)
    there = Syncs(dict.fromkeys(others, syncs.found["views"]))
    purged = purge_person(there, keys={"views": frozenset({hashed(7)})})
    assert purged.ledger is not None
    assert purged.ledger.quarantine == 1 - left
    with Ledger.open(ledger_url) as ledger:
        assert len(list(ledger.quarantine.calls(sync))) == left


@pytest.mark.parametrize(("kept_as", "found"), [(ZOE, True), (ZOE.lower(), True), ("zO\u00eb@example.com", False)])
def test_a_row_without_files_is_found_by_the_identifier_that_is_its_key(
    connections: Callable[..., None], tmp_path: Path, ledger_url: str, kept_as: str, found: bool
) -> None:
    write_dag(tmp_path / "dags", key=("email",))
    record(ledger_url, 1, "young", hashed(kept_as), hashed("ada@example.com"))
    purged = purge_person(find_syncs(tmp_path / "dags"), emails=[f" {ZOE}"])
    assert purged.ledger is not None
    assert (purged.rows_known, purged.ledger.outcomes, purged.ledger.quarantine) == (0, 2 * found, 1 * found)
    with Ledger.open(ledger_url) as ledger:
        assert hashed("ada@example.com") in [call.key for call in ledger.quarantine.calls("views")]


@pytest.mark.parametrize(
    ("sync", "values", "message"),
    [
        ("views", ["1", "2"], "2 key values were given for the sync views, expected 1: view_id"),
        ("view", ["1"], "no DAG has a sync named 'view'; there are views"),
    ],
)
def test_key_values_that_fit_no_sync_are_refused(syncs: Syncs, sync: str, values: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        known_keys([(sync, values)], syncs)


def test_files_of_a_sync_no_dag_has_are_searched_and_named(day: Finished, tmp_path: Path) -> None:
    purged = purge_person(Syncs(), emails=[ZOE])
    assert purged.unknown_syncs == {"views"}
    assert (purged.rows_known, purged.staged_rows, purged.exported_rows) == (0, 2, 2)
    assert holding(tmp_path / "staging", "Plantedzoe") == []


def test_files_stay_when_the_ledger_cannot_be_purged(
    day: Finished, syncs: Syncs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW__REVERSE_ETL__LEDGER_PATH", str(tmp_path / "staging"))
        with pytest.raises(ConfigurationError, match="could not"):
            purge_person(syncs, emails=[ZOE])
    assert purge_person(syncs, emails=[ZOE]).staged_rows == 2


def test_what_a_killed_task_left_half_written_goes_after_a_day(syncs: Syncs, tmp_path: Path) -> None:
    staging = tmp_path / "staging/views/run/views"
    aged(staging, 2, ".batch-00000.parquet.abcd.partial")
    aged(staging, 0.5, ".batch-00001.parquet.abcd.partial")
    assert purge_person(syncs, emails=[ZOE]).unfinished_files == 1
    assert [path.name for path in staging.iterdir()] == [".batch-00001.parquet.abcd.partial"]
