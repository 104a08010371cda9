"""Bringing `row_states` up to date from the outcomes of a batch, in short transactions.

Marks touch only neighbouring rows; row states change all over a large table. So that is done once per batch, in the
order of the table's key, and nobody who waits for a lock meanwhile waits long. A batch of a sync that compares nothing
is only noted as closed: `settle_closed` makes up for it when somebody asks for row states, which may be never.

Which of two deliveries came last is not read from clocks, which may differ or jump. Attempts are numbered in the order
they begin, and a state has the number of the newest one there was when it was written, its `epoch`: an attempt with a
greater number began after that, so all it sent came later. Where two attempts were under way at once and did not
deliver the same, nobody knows what the platform holds, and the fingerprint is forgotten.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from functools import partial

from sqlalchemy import ColumnElement, Connection, Dialect, Executable, delete, func, select, text

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.marking import DELIVERED
from reverse_etl.ledger.schema import ABANDONED, OPEN_BATCHES, OUTCOME_NUMBERS, OUTCOMES, ROW_STATES, RUNS
from reverse_etl.ledger.upserts import or_update

TRIED = tuple(
    OUTCOME_NUMBERS[outcome] for outcome in (Outcome.DELIVERED, Outcome.REJECTED, Outcome.SUPPRESSED, Outcome.FAILED)
)
"""Outcomes after which the platform may hold something else, or was asked to."""

NOBODY = 0
"""In place of the attempt that wrote a state, where it was not one alone."""

CALLS_PER_TRANSACTION = 10_000

LONGEST_PAUSE_SECONDS = 0.005


class Settling:
    """The prepared statement of one database. Settling is safe to repeat, and in any order of attempts."""

    def __init__(self, dialect: Dialect) -> None:
        later = "(row_states.attempt_id = :attempt OR row_states.epoch < :attempt)"
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
            "attempt_id": f"CASE WHEN {later} THEN :attempt ELSE {NOBODY} END",
            "epoch": "CASE WHEN row_states.epoch > :epoch THEN row_states.epoch ELSE :epoch END",
        }
        if_delivered = f"CASE WHEN outcome = {DELIVERED} THEN {{}} END"
        values = [
            "row_key",
            "call_kind",
            if_delivered.format("fingerprint"),
            if_delivered.format("at"),
            "at",
            "outcome",
        ]
        # A key that is in the batch twice: PostgreSQL refuses to update a row twice, the others let the later one win.
        once, later_last = ("DISTINCT ON (row_key, call_kind) ", " DESC") if dialect.name == "postgresql" else ("", "")
        self._statement = text(
            "INSERT INTO row_states "  # noqa: S608 - names and numbers of ours
            "(sync, row_key, call_kind, fingerprint, delivered_at, tried_at, outcome, attempt_id, epoch) "
            f"SELECT {once}:sync, {', '.join(values)}, :attempt, :epoch FROM outcomes "
            "WHERE attempt_id = :attempt AND batch = :batch AND row_key >= :first AND row_key < :beyond "
            f"AND outcome IN ({', '.join(map(str, TRIED))}) "
            f"ORDER BY row_key, call_kind, at{later_last}, place{later_last} {or_update(dialect, ROW_STATES, updates)}"
        )

    def settle_closed(self, database: Database, sync: int | None = None) -> None:
        """Settle the batches of a sync, or of all, that were closed without that, in the order of their attempts.

        Several may do it at once. It costs as much as the batches have calls.
        """
        places = (OPEN_BATCHES.c.sync, OPEN_BATCHES.c.attempt_id, OPEN_BATCHES.c.batch)
        closed = select(*places, OPEN_BATCHES.c.epoch).where(OPEN_BATCHES.c.epoch > ABANDONED)
        if sync is not None:
            closed = closed.where(OPEN_BATCHES.c.sync == sync)
        for label, attempt, batch, epoch in database.fetch("be asked about batches", closed.order_by(*places)):
            self(database, label, attempt, batch, epoch=epoch)
            # Opened again meanwhile, it has no epoch.
            done = delete(OPEN_BATCHES).where(*opened_batch(label, attempt, batch), OPEN_BATCHES.c.epoch == epoch)
            database.write("note that a batch is settled", partial(_execute, statement=done))

    def __call__(self, database: Database, sync: int, attempt: int, batch: int, *, epoch: int | None = None) -> None:
        """Settle the calls of a batch; `sync` is a label, `epoch` the newest attempt when it was closed, else now."""
        count = select(func.count()).where(
            OUTCOMES.c.attempt_id == attempt, OUTCOMES.c.batch == batch, OUTCOMES.c.outcome.in_(TRIED)
        )
        [(calls,)] = database.fetch("be asked about a batch", count)
        if epoch is None:
            [(epoch,)] = database.fetch("be asked about runs", select(func.max(RUNS.c.id)))
        for first, beyond in _ranges(-(-calls // CALLS_PER_TRANSACTION)):
            of_batch = {"sync": sync, "attempt": attempt, "batch": batch, "epoch": epoch}
            values = {**of_batch, "first": first, "beyond": beyond}
            begin = time.monotonic()
            database.write("bring row states up to date", partial(_execute, statement=self._statement, values=values))
            if database.kind == "sqlite" and beyond != BEYOND_ALL:
                # Who waits for SQLite's one lock looks every few milliseconds.
                time.sleep(min(time.monotonic() - begin, LONGEST_PAUSE_SECONDS))


def opened_batch(sync: int, attempt: int, batch: int) -> tuple[ColumnElement[bool], ...]:
    """Choose the batch of an attempt in `open_batches`; `sync` is a label."""
    return (OPEN_BATCHES.c.sync == sync, OPEN_BATCHES.c.attempt_id == attempt, OPEN_BATCHES.c.batch == batch)


def _execute(connection: Connection, *, statement: Executable, values: Mapping[str, object] | None = None) -> None:
    connection.execute(statement, values)


BEYOND_ALL = "g"
"""Greater than any hexadecimal text."""


def _ranges(number: int) -> Iterator[tuple[str, str]]:
    """Yield ranges of hashed keys that hold about as many each, in order: the first key and the one beyond the last."""
    borders = ["", *(f"{2**32 * part // number:08x}" for part in range(1, number)), BEYOND_ALL]
    if number:
        yield from itertools.pairwise(borders)
