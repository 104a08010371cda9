"""Forgetting what is old and everything about a person, a transaction per step: workers are not kept waiting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, delete, func, select, union

from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.chunks import chunks
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.records import Clock, Purged
from reverse_etl.ledger.schema import OUTCOMES, QUARANTINE, ROW_STATES, RUNS, WATERMARK_READS
from reverse_etl.ledger.times import MICROSECONDS

KEYS_PER_SCAN = 5_000
"""SQLite takes 32,766 parameters."""


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
    newest = select(func.max(RUNS.c.id)).group_by(RUNS.c.sync)
    latest = database.read("list runs", lambda connection: list(connection.scalars(newest)))
    # The newest stays: what comes after it must have a greater number, by which row states are ordered. So does that of
    # every sync: it tells an earlier run, cleared now, that another has read the source since.
    runs = _delete(database, RUNS, RUNS.c.started < limit, RUNS.c.id.not_in(latest), unnamed)
    _delete(database, WATERMARK_READS, WATERMARK_READS.c.begun < limit)
    states = 0
    if states_older_than is not None:
        limit = now - states_older_than // timedelta(microseconds=1)
        last = func.coalesce(ROW_STATES.c.delivered_at, ROW_STATES.c.tried_at)
        states = _delete(database, ROW_STATES, last < limit)
    return Purged(runs=runs, outcomes=outcomes, row_states=states, quarantine=quarantine)


def purge_keys(database: Database, sync: str, label: int, keys: Sequence[str]) -> Purged:
    """Remove every row of a sync with the hashed keys from every table, outcomes first: states are made of them.

    `label` is the number of the sync's name. Another sync may have the same keys for other people.
    """
    attempts = database.read("list runs", lambda connection: list(connection.scalars(_runs_of(sync))))
    return Purged(
        outcomes=sum(_purge_keys_of_outcomes(database, attempts, chunk) for chunk in chunks(keys, KEYS_PER_SCAN)),
        row_states=sum(
            _delete(database, ROW_STATES, ROW_STATES.c.sync == label, ROW_STATES.c.row_key.in_(chunk))
            for chunk in chunks(keys)
        ),
        quarantine=sum(
            _delete(database, QUARANTINE, QUARANTINE.c.sync == sync, QUARANTINE.c.row_key.in_(chunk))
            for chunk in chunks(keys)
        ),
    )


def count_keys(database: Database, sync: str, label: int, keys: Sequence[str]) -> Purged:
    """Return how many rows of each table `purge_keys` would remove."""

    def count(table: Table, of_sync: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(table).where(of_sync)
        return sum(
            database.fetch("be counted", query.where(table.c.row_key.in_(chunk)))[0][0]
            for chunk in chunks(keys, KEYS_PER_SCAN)
        )

    return Purged(
        outcomes=count(OUTCOMES, OUTCOMES.c.attempt_id.in_(_runs_of(sync))),
        row_states=count(ROW_STATES, ROW_STATES.c.sync == label),
        quarantine=count(QUARANTINE, QUARANTINE.c.sync == sync),
    )


def sync_names(database: Database) -> list[str]:
    """Return the names of all syncs that have a run or a call in quarantine."""
    names = union(select(RUNS.c.sync), select(QUARANTINE.c.sync))
    return database.read("list syncs", lambda connection: sorted(connection.scalars(names)))


def _runs_of(sync: str) -> Select[int]:
    return select(RUNS.c.id).where(RUNS.c.sync == sync)


def _purge_keys_of_outcomes(database: Database, attempts: Sequence[int], keys: Sequence[str]) -> int:
    """Find the keys by reading all outcomes of the attempts, which locks nothing, then remove them by primary key."""
    columns = (OUTCOMES.c.attempt_id, OUTCOMES.c.batch, OUTCOMES.c.row_key)
    found: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for of_attempts in chunks(attempts, KEYS_PER_SCAN):
        query = select(*columns).where(OUTCOMES.c.attempt_id.in_(of_attempts), OUTCOMES.c.row_key.in_(keys))
        for attempt, batch, key in database.fetch("look up rows", query.distinct()):
            found[attempt, batch].append(key)
    return sum(
        _delete(
            database,
            OUTCOMES,
            OUTCOMES.c.attempt_id == attempt,
            OUTCOMES.c.batch == batch,
            OUTCOMES.c.row_key.in_(chunk),
        )
        for (attempt, batch), of_batch in found.items()
        for chunk in chunks(of_batch)
    )


def _distinct(database: Database, column: Column[int], *where: ColumnElement[bool]) -> list[int]:
    """Return the values of a column of a key, each looked up as the one after the last: they are few, the rows many."""

    def values(connection: Connection) -> list[int]:
        found: list[int] = []
        query = select(func.min(column)).where(*where)
        value = connection.scalar(query)
        while value is not None:
            found.append(value)
            value = connection.scalar(query.where(column > value))
        return found

    return database.read("list what there is", values)


def _purge_attempt(database: Database, attempt: int) -> int:
    of_attempt = OUTCOMES.c.attempt_id == attempt
    batches = _distinct(database, OUTCOMES.c.batch, of_attempt)
    return sum(_delete(database, OUTCOMES, of_attempt, OUTCOMES.c.batch == batch) for batch in batches)


def _delete(database: Database, table: Table, *where: ColumnElement[bool]) -> int:
    statement = delete(table).where(*where)
    return database.write("be purged", lambda connection: connection.execute(statement).rowcount)
