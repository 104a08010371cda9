"""Forgetting what is old and everything about a person, a transaction per step: workers are not kept waiting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Delete, Row, Table, delete, func, select, union, update

from reverse_etl.delivery.journal import MarkedRow
from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.chunks import chunks
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.known import FORGOTTEN
from reverse_etl.ledger.records import Clock, Purged
from reverse_etl.ledger.schema import MARKS, QUARANTINE, ROW_STATES, RUNS, WATERMARK_READS
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
    states = _purge_forgotten(database, limit)
    if states_older_than is not None:
        limit = now - states_older_than // timedelta(microseconds=1)
        last = func.coalesce(ROW_STATES.c.delivered_at, ROW_STATES.c.tried_at)
        states += _delete(database, ROW_STATES, last < limit)
    return Purged(runs=runs, outcomes=outcomes, row_states=states, quarantine=quarantine)


def purge_keys(database: Database, sync: str, label: int, keys: Sequence[str]) -> Purged:
    """Remove every row of a sync with the hashed keys from every table, outcomes first: states are made of them.

    `label` is the number of the sync's name. Another sync may have the same keys for other people.
    """
    attempts = _attempts_of(database, sync)
    return Purged(
        outcomes=_remove(database, attempts, frozenset(keys)),
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
    attempts = _attempts_of(database, sync)

    def count(table: Table, of_sync: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(table).where(of_sync)
        return sum(
            database.fetch("be counted", query.where(table.c.row_key.in_(chunk)))[0][0]
            for chunk in chunks(keys, KEYS_PER_SCAN)
        )

    return Purged(
        outcomes=sum(mark.calls - len(left) for mark, left in _touched(database, attempts, frozenset(keys))),
        row_states=count(ROW_STATES, ROW_STATES.c.sync == label),
        quarantine=count(QUARANTINE, QUARANTINE.c.sync == sync),
    )


def sync_names(database: Database) -> list[str]:
    """Return the names of all syncs that have a run or a call in quarantine."""
    names = union(select(RUNS.c.sync), select(QUARANTINE.c.sync))
    return database.read("list syncs", lambda connection: sorted(connection.scalars(names)))


def _attempts_of(database: Database, sync: str) -> Sequence[int]:
    query = select(RUNS.c.id).where(RUNS.c.sync == sync)
    return database.read("list runs", lambda connection: list(connection.scalars(query)))


def _touched(
    database: Database, attempts: Sequence[int], keys: frozenset[str]
) -> Iterator[tuple[Row[Any], list[MarkedRow]]]:
    """Yield the marks that have rows with the keys, each with its other rows. All marks are read, which locks nothing.

    Those of a batch are read at once.
    """
    batches = select(MARKS.c.attempt_id, MARKS.c.batch).distinct()
    query = select(MARKS.c.id, MARKS.c.calls, MARKS.c.marked_rows)
    for attempt in attempts:
        for _, batch in database.fetch("list what there is", batches.where(MARKS.c.attempt_id == attempt)):
            of_batch = query.where(MARKS.c.attempt_id == attempt, MARKS.c.batch == batch)
            for mark in database.fetch("look up rows", of_batch):
                left = _without(mark.marked_rows, keys)
                if len(left) < mark.calls:
                    yield mark, left


def _remove(database: Database, attempts: Sequence[int], keys: frozenset[str]) -> int:
    """Take rows out of marks; return how many."""
    return sum(
        database.write("be purged", partial(_take_out, mark_id=mark.id, keys=keys))
        for mark, _ in _touched(database, attempts, keys)
    )


def _take_out(connection: Connection, *, mark_id: int, keys: frozenset[str]) -> int:
    """Take rows out of a mark as it is by now: another purge may have taken out others since it was found."""
    it = MARKS.c.id == mark_id
    mark = connection.execute(select(MARKS.c.calls, MARKS.c.marked_rows).where(it).with_for_update()).one_or_none()
    if mark is None:
        return 0
    left = _without(mark.marked_rows, keys)
    change = update(MARKS).where(it).values(calls=len(left), marked_rows=orjson.dumps(left).decode())
    connection.execute(change if left else delete(MARKS).where(it))
    return int(mark.calls) - len(left)


def _without(marked_rows: str, keys: frozenset[str]) -> list[MarkedRow]:
    return [row for row in orjson.loads(marked_rows) if row[1] not in keys]


def _purge_attempt(database: Database, attempt: int) -> int:
    of_attempt = MARKS.c.attempt_id == attempt
    [(calls,)] = database.fetch("be counted", select(func.coalesce(func.sum(MARKS.c.calls), 0)).where(of_attempt))
    batches = select(MARKS.c.batch).where(of_attempt).distinct()
    for (batch,) in database.fetch("list what there is", batches):
        _delete(database, MARKS, of_attempt, MARKS.c.batch == batch)
    return int(calls)


def _execute(connection: Connection, *, statement: Delete) -> int:
    return connection.execute(statement).rowcount


def _purge_forgotten(database: Database, limit: int) -> int:
    """Remove states of rows forgotten before `limit`: the marks they stood against are gone by now."""
    forgotten = [ROW_STATES.c[name].is_not_distinct_from(value) for name, value in FORGOTTEN.items()]
    query = select(ROW_STATES.c.sync, ROW_STATES.c.row_key).where(*forgotten, ROW_STATES.c.tried_at < limit)
    found: defaultdict[int, list[str]] = defaultdict(list)
    for sync, key in database.fetch("look up forgotten rows", query.distinct()):
        found[sync].append(key)
    return sum(
        _delete(database, ROW_STATES, ROW_STATES.c.sync == sync, ROW_STATES.c.row_key.in_(chunk), *forgotten)
        for sync, keys in found.items()
        for chunk in chunks(keys)
    )


def _delete(database: Database, table: Table, *where: ColumnElement[bool]) -> int:
    statement = delete(table).where(*where)
    return database.write("be purged", partial(_execute, statement=statement))
