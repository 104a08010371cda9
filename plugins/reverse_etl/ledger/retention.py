"""Forgetting what is old and everything about a person, a transaction per step: workers are not kept waiting."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Table, delete, select

from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.records import Clock, Purged
from reverse_etl.ledger.schema import OUTCOMES, QUARANTINE, ROW_STATES, RUNS
from reverse_etl.ledger.times import MICROSECONDS

KEYS_PER_STATEMENT = 500


def purge_old(database: Database, clock: Clock, older_than: timedelta, states_older_than: timedelta | None) -> Purged:
    """Remove what `Ledger.purge` says."""
    for name, age in (("older_than", older_than), ("states_older_than", states_older_than)):
        if age is not None and age < timedelta(0):
            raise ConfigurationError(f"{name} is {age}, expected an age of 0 or more")
    now = int(clock() * MICROSECONDS)
    limit = now - older_than // timedelta(microseconds=1)
    quarantine = _delete(database, QUARANTINE, QUARANTINE.c.last_seen < limit)
    old = select(RUNS.c.id).where(RUNS.c.started < limit)
    attempts = database.read("list old runs", lambda connection: list(connection.scalars(old)))
    outcomes = sum(_purge_attempt(database, attempt) for attempt in attempts)
    unnamed = RUNS.c.id.not_in(select(QUARANTINE.c.attempt_id))
    runs = _delete(database, RUNS, RUNS.c.started < limit, unnamed)
    states = 0
    if states_older_than is not None:
        limit = now - states_older_than // timedelta(microseconds=1)
        states = _delete(database, ROW_STATES, ROW_STATES.c.delivered_at < limit)
    return Purged(runs=runs, outcomes=outcomes, row_states=states, quarantine=quarantine)


def purge_keys(database: Database, keys: Sequence[str]) -> Purged:
    """Remove every row of the hashed keys from every table."""
    attempts = database.read("list runs", lambda connection: list(connection.scalars(select(RUNS.c.id))))
    chunks = [keys[start : start + KEYS_PER_STATEMENT] for start in range(0, len(keys), KEYS_PER_STATEMENT)]
    return Purged(
        outcomes=sum(
            _delete(database, OUTCOMES, OUTCOMES.c.attempt_id == attempt, OUTCOMES.c.row_key.in_(chunk))
            for attempt in attempts
            for chunk in chunks
        ),
        row_states=sum(_delete(database, ROW_STATES, ROW_STATES.c.row_key.in_(chunk)) for chunk in chunks),
        quarantine=sum(_delete(database, QUARANTINE, QUARANTINE.c.row_key.in_(chunk)) for chunk in chunks),
    )


def _purge_attempt(database: Database, attempt: int) -> int:
    of_attempt = OUTCOMES.c.attempt_id == attempt
    query = select(OUTCOMES.c.batch).where(of_attempt).distinct()
    batches = database.read("list old batches", lambda connection: list(connection.scalars(query)))
    return sum(_delete(database, OUTCOMES, of_attempt, OUTCOMES.c.batch == batch) for batch in batches)


def _delete(database: Database, table: Table, *where: ColumnElement[bool]) -> int:
    statement = delete(table).where(*where)
    return database.write("be purged", lambda connection: connection.execute(statement).rowcount)
