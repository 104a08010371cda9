"""Bringing `row_states` up to date from the marks of a batch, in short transactions.

A mark is one row; row states change all over a large table. So that is done once per batch, in the
order of the table's key, and nobody who waits for a lock meanwhile waits long. A batch of a sync that compares nothing
is only noted as closed: `settle_closed` makes up for it when somebody asks for row states, which may be never.

Which of two deliveries came last is not read from clocks, which may differ or jump. Attempts are numbered in the order
they begin, and a state has the number of the newest one there was when it was written, its `epoch`: an attempt with a
greater number began after that, so all it sent came later. Where two attempts were under way at once and did not
deliver the same, nobody knows what the platform holds, and the fingerprint is forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from operator import itemgetter

from sqlalchemy import ColumnElement, Connection, Executable, delete, func, select

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.chunks import chunks
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.marks import last_marks
from reverse_etl.ledger.schema import ABANDONED, DELIVERED, OPEN_BATCHES, OUTCOME_NUMBERS, ROW_STATES, RUNS
from reverse_etl.ledger.upserts import Upsert

State = tuple[str, int, str | None, int | None, int, int]
"""A row of `row_states` without what all of a batch share."""

TRIED = frozenset(
    OUTCOME_NUMBERS[outcome] for outcome in (Outcome.DELIVERED, Outcome.REJECTED, Outcome.SUPPRESSED, Outcome.FAILED)
)
"""Outcomes after which the platform may hold something else, or was asked to."""

NOBODY = 0
"""In place of the attempt that wrote a state, where it was not one alone."""

CALLS_PER_TRANSACTION = 10_000

LONGEST_PAUSE_SECONDS = 0.005


class Settling:
    """The prepared upsert of one database. Settling is safe to repeat, and in any order of attempts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        attempt = "excluded.attempt_id"
        later = f"(row_states.attempt_id = {attempt} OR row_states.epoch < {attempt})"
        is_delivered, was_delivered = f"excluded.outcome = {DELIVERED}", f"row_states.outcome = {DELIVERED}"
        same = f"{is_delivered} AND {was_delivered} AND row_states.fingerprint = excluded.fingerprint"
        delivered_later = f"{later} OR row_states.delivered_at IS NULL OR excluded.tried_at > row_states.delivered_at"
        tried_later = f"{later} OR excluded.tried_at > row_states.tried_at"
        updates = {
            "fingerprint": f"CASE WHEN {later} AND {is_delivered} THEN excluded.fingerprint "
            f"WHEN {later} OR {same} THEN row_states.fingerprint END",
            "delivered_at": f"CASE WHEN {is_delivered} AND ({delivered_later}) "
            "THEN excluded.delivered_at ELSE row_states.delivered_at END",
            "outcome": f"CASE WHEN {tried_later} THEN excluded.outcome ELSE row_states.outcome END",
            "tried_at": f"CASE WHEN {tried_later} THEN excluded.tried_at ELSE row_states.tried_at END",
            "attempt_id": f"CASE WHEN {later} THEN {attempt} ELSE {NOBODY} END",
            "epoch": "CASE WHEN row_states.epoch > excluded.epoch THEN row_states.epoch ELSE excluded.epoch END",
        }
        self._write = Upsert(database.dialect, ROW_STATES, updates, same=("sync", "attempt_id", "epoch"))

    def settle_closed(self, sync: int | None = None) -> None:
        """Settle the batches of a sync, or of all, that were closed without that, in the order of their attempts.

        Several may do it at once. It costs as much as the batches have calls.
        """
        places = (OPEN_BATCHES.c.sync, OPEN_BATCHES.c.attempt_id, OPEN_BATCHES.c.batch)
        closed = select(*places, OPEN_BATCHES.c.epoch).where(OPEN_BATCHES.c.epoch > ABANDONED)
        if sync is not None:
            closed = closed.where(OPEN_BATCHES.c.sync == sync)
        for label, attempt, batch, epoch in self._database.fetch("be asked about batches", closed.order_by(*places)):
            self(label, attempt, batch, epoch=epoch)
            # Opened again meanwhile, it has no epoch.
            done = delete(OPEN_BATCHES).where(*opened_batch(label, attempt, batch), OPEN_BATCHES.c.epoch == epoch)
            self._database.write("note that a batch is settled", partial(_execute, statement=done))

    def __call__(self, sync: int, attempt: int, batch: int, *, epoch: int | None = None) -> None:
        """Settle the calls of a batch; `sync` is a label, `epoch` the newest attempt when it was closed, else now."""
        states = self._states(attempt, batch)
        if epoch is None:
            [(epoch,)] = self._database.fetch("be asked about runs", select(func.max(RUNS.c.id)))
        some: Sequence[State] = ()
        for some in chunks(states, CALLS_PER_TRANSACTION):
            begin = time.monotonic()
            write = partial(self._write, rows=some, same=(sync, attempt, epoch))
            self._database.write("bring row states up to date", write)
            if self._database.kind == "sqlite" and some[-1] is not states[-1]:
                # Who waits for SQLite's one lock looks every few milliseconds.
                time.sleep(min(time.monotonic() - begin, LONGEST_PAUSE_SECONDS))

    def _states(self, attempt: int, batch: int) -> list[State]:
        """Return the states a batch makes, in the order of the table; of a key it has twice, that of the later row."""
        states: dict[tuple[str, int], tuple[int, State]] = {}
        for (key, call, place), (outcome, at, fingerprint, _) in last_marks(self._database, attempt, batch).items():
            later_row = states.get((key, call))
            if outcome not in TRIED or (later_row is not None and later_row[0] > place):
                continue
            arrived = outcome == DELIVERED
            state = (key, call, fingerprint if arrived else None, at if arrived else None, at, outcome)
            states[key, call] = (place, state)
        return sorted((state for _, state in states.values()), key=itemgetter(0))


def opened_batch(sync: int, attempt: int, batch: int) -> tuple[ColumnElement[bool], ...]:
    """Choose the batch of an attempt in `open_batches`; `sync` is a label."""
    return (OPEN_BATCHES.c.sync == sync, OPEN_BATCHES.c.attempt_id == attempt, OPEN_BATCHES.c.batch == batch)


def _execute(connection: Connection, *, statement: Executable) -> None:
    connection.execute(statement)
