"""Whose turn it is: one run of a sync at a time sends, and one that died keeps nobody waiting for long."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.records import LONGEST_NAME, LONGEST_RUN_NAME, check_name
from reverse_etl.ledger.schema import TURNS
from reverse_etl.ledger.times import MICROSECONDS, moment
from reverse_etl.ledger.upserts import insert_new


class Turn(NamedTuple):
    """The run that may send rows of a sync, until when it need not say so again."""

    dag_id: str
    run_id: str
    until: datetime


class Turns:
    """One turn per sync. Time comes from the database, so that all users share one clock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, sync: str, dag_id: str, run_id: str, seconds: float, *, now: float | None = None) -> Turn | None:
        """Give a run the turn of a sync for so many seconds, anew where it has it; return whose turn it is otherwise.

        `now` (seconds since 1970) takes the place of the database's clock. Raises ConfigurationError for a name that is
        too long and for no time at all, LedgerUnavailable when nobody can tell: then nothing may be sent.
        """
        check_name("the sync", sync, LONGEST_NAME)
        check_name("the DAG", dag_id, LONGEST_RUN_NAME)
        check_name("the run", run_id, LONGEST_RUN_NAME)
        if seconds <= 0:
            raise ConfigurationError(f"a turn of {seconds} s, expected more than 0")
        query = select(TURNS.c.dag_id, TURNS.c.run_id, TURNS.c.until).where(TURNS.c.sync == sync).with_for_update()
        ours = {"dag_id": dag_id, "run_id": run_id}

        def locked(connection: Connection) -> Turn | None:
            found = connection.execute(query).one_or_none()
            if found is None:
                insert_new(connection, TURNS, [{"sync": sync, **ours, "until": 0}])
                found = connection.execute(query).one()
            # Only now: time passes while waiting for the lock.
            present = self._database.microseconds(connection) if now is None else int(now * MICROSECONDS)
            holder, until = (found[0], found[1]), found[2]
            if holder != (dag_id, run_id) and until > present:
                return Turn(*holder, moment(until))
            values = {**ours, "until": present + int(seconds * MICROSECONDS)}
            connection.execute(update(TURNS).where(TURNS.c.sync == sync).values(values))
            return None

        return self._database.write("take the turn of a sync", locked)

    def give_back(self, sync: str, dag_id: str, run_id: str) -> bool:
        """Let the next run begin; return whether it was the turn of this one."""
        ours = (TURNS.c.sync == sync, TURNS.c.dag_id == dag_id, TURNS.c.run_id == run_id, TURNS.c.until > 0)
        statement = update(TURNS).where(*ours).values(until=0)
        return bool(self._database.write("give a turn back", lambda connection: connection.execute(statement).rowcount))
