"""The commands of docs/quarantine.md, run as they stand over a run of the example sync with a refused row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.database import PrivateServer
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import QuarantinedCall
from reverse_etl.sandbox.testing import SandboxServer
from tests.conftest import ROOT
from tests.database import run as run_sql
from tests.docs.conftest import BAD_DAY, SIGNUPS, Bash, RestApi, Run, command_in, lead_to
from tests.docs.pages import block, output_of, read
from tests.operators.conftest import Finished, register

pytestmark = pytest.mark.integration

Quarantine = Callable[[], list[QuarantinedCall]]


@pytest.fixture
def bad_day(
    metadata: None,
    database: dict[str, object],
    platform: SandboxServer,
    server: PrivateServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], None]:
    """A run of the example for the day with a malformed e-mail; a function that changes the source."""
    from airflow.dag_processing.dagbag import DagBag

    lead_to(monkeypatch, tmp_path, platform, database, SIGNUPS)
    dag = DagBag(str(SIGNUPS)).dags["trial_signups"]
    register(dag)
    finished = Finished(dag.test(run_conf={"date": BAD_DAY}), tmp_path / "output")
    assert finished.counts == {"read": 2, "delivered": 1, "invalid": 1}

    def change(statement: str) -> None:
        run_sql(lambda: server.connect(str(database["schema"])), statement)

    return change


@pytest.fixture
def command(bash: Bash, bad_day: None, tmp_path: Path) -> Run:
    return command_in(bash, tmp_path)


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    def listed() -> list[QuarantinedCall]:
        with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
            return list(ledger.quarantine.calls("trial_signups"))

    return listed


def test_the_list_is_the_one_shown(command: Run) -> None:
    assert command(block("quarantine-list")) == output_of("quarantine-list")


def test_each_way_to_show_finds_the_row(command: Run, quarantine: Quarantine) -> None:
    [call] = quarantine()
    assert command(block("quarantine-show")).count(call.key) == 3


def test_a_corrected_row_is_sent_again(
    command: Run, bad_day: Callable[[str], None], quarantine: Quarantine, platform: SandboxServer
) -> None:
    bad_day("UPDATE trials SET email = 'otto@example.com' WHERE id = 5")
    written = command(block("quarantine-replay"))
    assert "Dry run: nothing was read or sent." in written
    assert written.endswith("0 calls of the sync are in quarantine.\n")
    assert quarantine() == []
    assert "otto@example.com" in {user.get("email") for user in platform.users()}


def test_the_dag_is_triggered_with_the_params_of_the_page(bash: Bash, rest: RestApi) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(str(ROOT / "dags/replay_quarantine.py")).dags["replay_quarantine"]
    register(dag)
    newest = "/api/v2/dags/replay_quarantine/dagRuns?order_by=-id&limit=1"
    before = rest.call("GET", newest).json()["total_entries"]
    bash(block("quarantine-trigger"))
    after = rest.call("GET", newest).json()
    assert after["total_entries"] == before + 1
    assert after["dag_runs"][0]["conf"] == {"sync": "trial_signups", "dry_run": True}
    named = [name for name in dag.params if f"`{name}`" in read("docs/quarantine.md")]
    assert named == list(dag.params)


def test_calls_are_discarded(command: Run, quarantine: Quarantine) -> None:
    command(block("quarantine-discard"))
    assert quarantine() == []


def test_what_is_young_is_not_purged(command: Run, quarantine: Quarantine, tmp_path: Path) -> None:
    before = quarantine()
    command(block("purge-old"))
    assert quarantine() == before
    assert list((tmp_path / "staging").rglob("batch-*.parquet"))


def test_the_days_of_the_maintenance_dag_are_those_of_the_page(metadata: None) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(str(ROOT / "dags/ledger_maintenance.py")).dags["ledger_maintenance"]
    days = dag.params["older_than_days"]
    assert f"`ledger_maintenance` does this every day, with {days} days" in read("docs/quarantine.md")


def test_a_person_is_forgotten(command: Run, quarantine: Quarantine, tmp_path: Path) -> None:
    (tmp_path / "identifiers.txt").write_text("LENA.Vogel@example.org\n")
    command(f'cd "{tmp_path}"\n{block("purge-person")}')
    assert quarantine() == []
    [export] = (tmp_path / "output").rglob("query_results_*.csv")
    assert len(export.read_text().splitlines()) == 1
