"""One run of a sync at a time: from the task that reads its rows to its report, over all DAGs and the command."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reverse_etl.errors import SyncBusy
from reverse_etl.operators.ledger import open_ledger

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from reverse_etl.sync import Sync

TURN = timedelta(hours=1)
"""A run that says nothing for so long is taken for dead: every task that begins says that it is alive."""

LOOK_AGAIN = timedelta(seconds=15)
"""How often a run that waits looks whether it is its turn; it holds no worker slot meanwhile."""


def take_turn(sync: Sync, dag_id: str, run_id: str) -> None:
    """Begin or go on with a run of a sync; raise SyncBusy while it is the turn of another one."""
    with open_ledger() as ledger:
        turn = ledger.turns.take(sync.name, dag_id, run_id, TURN.total_seconds())
    if turn is not None:
        raise SyncBusy(
            f"the run {turn.run_id} of the DAG {turn.dag_id} sends rows of sync {sync.name}; it ends with its report, "
            f"or counts as dead at {turn.until:%Y-%m-%d %H:%M:%S} UTC unless one of its tasks begins before"
        )


def give_turn_back(sync: str, dag_id: str, run_id: str) -> None:
    """Let the next run of a sync begin."""
    with open_ledger() as ledger:
        ledger.turns.give_back(sync, dag_id, run_id)


def take_turn_or_wait(operator: BaseOperator, sync: Sync, context: Any) -> None:
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
