"""Two runs of one sync at once: the second waits or refuses, and a dead one keeps nobody waiting for long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from reverse_etl.errors import SyncBusy
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.operators.turns import keeping_turn, take_turn
from reverse_etl.sandbox.testing import SandboxServer
from tests.cli.conftest import Command, reverse_etl
from tests.operators.conftest import Finished
from tests.operators.test_bad_days import views
from tests.operators.test_check import make_sync

__all__ = ["reverse_etl", "views"]

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Add = Callable[..., None]


def turn_of(tmp_path: Path, run: str, seconds: float) -> bool:
    """Let a run that is not there take the turn; return whether it got it."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        return ledger.turns.take("views", "another_dag", run, seconds) is None


def test_the_second_run_refuses_where_the_sync_says_so_and_names_the_first(
    run_sync: Run, views: Add, sandbox: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    views("ada@example.com")
    assert turn_of(tmp_path, "one", 300)
    finished = run_sync(concurrent="refuse")
    assert (finished.state, finished.states("extract"), finished.tries("extract")) == ("failed", ["failed"], 1)
    assert "the run one of the DAG another_dag sends rows of sync views" in capsys.readouterr().out
    assert sandbox.stats()["requests_total"] == 0
    assert not turn_of(tmp_path, "two", 300)


def test_the_second_run_waits_until_the_first_is_given_up(
    run_sync: Run, views: Add, sandbox: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    views("ada@example.com")
    assert turn_of(tmp_path, "one", 5)
    finished = run_sync()
    assert "this run waits" in capsys.readouterr().out
    assert finished.state == "success"
    assert finished.counts == {"read": 1, "delivered": 1}
    assert finished.tries("extract") == 1


@pytest.mark.parametrize("query", ["", "SELECT 1 AS nothing"])
def test_a_run_gives_its_turn_back_however_it_ends(run_sync: Run, views: Add, tmp_path: Path, query: str) -> None:
    views("ada@example.com")
    finished = run_sync(*[query] if query else [])
    assert finished.state == ("failed" if query else "success")
    assert turn_of(tmp_path, "one", 300)


def test_a_dry_run_waits_for_nobody_and_takes_no_turn(run_sync: Run, views: Add, tmp_path: Path) -> None:
    views("ada@example.com")
    assert turn_of(tmp_path, "one", 300)
    assert run_sync(dry_run=True, concurrent="refuse").state == "success"
    assert not turn_of(tmp_path, "two", 300)


def test_a_batch_of_a_run_that_lost_its_turn_is_not_sent(
    run_sync: Run, views: Add, sandbox: SandboxServer, tmp_path: Path
) -> None:
    from reverse_etl.operators.deliver import DeliverOperator

    class TakenOver(DeliverOperator):
        def execute(self, context: Any) -> None:
            with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
                ledger.turns.give_back("views", "views", context["dag_run"].run_id)
            turn_of(tmp_path, "two", 300)
            super().execute(context)

    views("ada@example.com")
    finished = run_sync(deliver=TakenOver)
    assert finished.state == "failed"
    assert sandbox.stats()["requests_total"] == 0


def test_a_replay_by_command_refuses_while_a_run_sends(
    run_sync: Run, reverse_etl: Command, views: Add, tmp_path: Path
) -> None:
    views("malformed")
    run_sync()
    assert turn_of(tmp_path, "one", 300)
    answer = reverse_etl("quarantine", "replay", "views")
    assert answer.code == 2
    assert "the run one of the DAG another_dag sends rows of sync views" in answer.err


def test_a_task_that_works_says_that_its_run_is_alive(connections: Callable[..., None], tmp_path: Path) -> None:
    sync = make_sync(tmp_path)
    second = timedelta(seconds=1)
    with keeping_turn(sync, "daily", "one", lasts=second, sign=second / 20):
        sleep(1.5)
        with pytest.raises(SyncBusy):
            take_turn(sync, "daily", "two")
    sleep(1.1)
    take_turn(sync, "daily", "two")
