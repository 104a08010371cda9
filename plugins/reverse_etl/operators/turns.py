"""One run of a sync at a time: from the task that reads its rows to its report, over all DAGs and the command."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reverse_etl.errors import ReverseEtlError, SyncBusy
from reverse_etl.operators.ledger import ledger_url, open_ledger

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from reverse_etl.sync import Sync

TURN = timedelta(minutes=5)
"""A run of which nobody has heard for so long is taken for dead."""

SIGN_OF_LIFE = timedelta(minutes=1)
"""How often a task that works says so."""

LOOK_AGAIN = timedelta(seconds=15)
"""How often a run that waits looks whether it is its turn; it holds no worker slot meanwhile."""


def take_turn(sync: Sync, dag_id: str, run_id: str, *, lasts: timedelta = TURN) -> None:
    """Begin or go on with a run of a sync; raise SyncBusy while it is the turn of another one."""
    with open_ledger() as ledger:
        turn = ledger.turns.take(sync.name, dag_id, run_id, lasts.total_seconds())
    if turn is not None:
        raise SyncBusy(
            f"the run {turn.run_id} of the DAG {turn.dag_id} sends rows of sync {sync.name}; it ends with its report, "
            f"or counts as dead at {turn.until:%Y-%m-%d %H:%M:%S} UTC if nobody hears of it before"
        )


@contextmanager
def keeping_turn(
    sync: Sync, dag_id: str, run_id: str, *, lasts: timedelta = TURN, sign: timedelta = SIGN_OF_LIFE
) -> Iterator[None]:
    """Take the turn and say now and then that the run is alive; raise SyncBusy while it is the turn of another one."""
    from reverse_etl.ledger.ledger import Ledger

    take_turn(sync, dag_id, run_id, lasts=lasts)
    url, over = ledger_url(), threading.Event()

    def say_so() -> None:
        while not over.wait(sign.total_seconds()):
            try:
                with Ledger.open(url) as ledger:
                    ledger.turns.take(sync.name, dag_id, run_id, lasts.total_seconds())
            except ReverseEtlError:
                continue  # the next sign is soon enough, and the work itself says what is wrong

    thread = threading.Thread(target=say_so, name="turn", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def turn_of(sync: Sync, context: Any, *, dry_run: bool = False) -> AbstractContextManager[None]:
    """Keep the turn while a task of a run works, as `keeping_turn` does; a dry run sends nothing and takes none."""
    dag_run = context["dag_run"]
    return nullcontext() if dry_run else keeping_turn(sync, dag_run.dag_id, dag_run.run_id)


def end_turn(sync: str, context: Any) -> None:
    """Let the next run of a sync begin after the run of a task."""
    give_turn_back(sync, context["dag_run"].dag_id, context["dag_run"].run_id)


def give_turn_back(sync: str, dag_id: str, run_id: str) -> None:
    """Let the next run of a sync begin."""
    with open_ledger() as ledger:
        ledger.turns.give_back(sync, dag_id, run_id)


def wait_for_turn(operator: BaseOperator, sync: Sync, context: Any) -> None:
    """Take the turn for a task; while another run has it, defer the task, or raise SyncBusy as the sync says."""
    dag_run = context["dag_run"]
    try:
        take_turn(sync, dag_run.dag_id, dag_run.run_id)
    except SyncBusy as busy:
        if sync.concurrent == "refuse":
            raise
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        operator.log.info("%s; this run waits", busy)
        operator.defer(trigger=TimeDeltaTrigger(LOOK_AGAIN), method_name="execute_again")
