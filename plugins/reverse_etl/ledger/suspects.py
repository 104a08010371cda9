"""Rows of a sync that the platform may hold although nobody confirmed it, noted so that no later refusal hides them.

Such a row has a state of its own beside those of its calls: that of the call `MAYBE_SENT`, which failed. It goes when
the row is forgotten, and says nothing about what the calls look like. No mark has that call: it would hide the suspect.
The call of a row held back as a whole would, and its state must not be overwritten either.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection, Update, select, update

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.chunks import chunks
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.schema import ABANDONED, OPEN_BATCHES, OUTCOME_NUMBERS, ROW_STATES
from reverse_etl.ledger.settling import opened_batch
from reverse_etl.ledger.upserts import insert_new

MAYBE_SENT = "(maybe sent)"
"""No call has such a name."""

FAILED = OUTCOME_NUMBERS[Outcome.FAILED]
NO_ATTEMPT = 0


class Suspects:
    """The suspects of one sync; `number` is its label, `maybe_sent` that of `MAYBE_SENT`, `now` the moment."""

    def __init__(self, database: Database, number: int, maybe_sent: int, now: int) -> None:
        self._database = database
        self._sync = number
        self._maybe_sent = maybe_sent
        self._now = now

    def abandon(self, attempt: int, batch: int, keys: Sequence[str]) -> None:
        """Suspect rows of a batch whose worker died. The batch stays open, but is not `unheard` any more."""
        self._add(keys, attempt)
        statement = update(OPEN_BATCHES).where(
            *opened_batch(self._sync, attempt, batch), OPEN_BATCHES.c.epoch.is_(None)
        )
        abandoned = statement.values(epoch=ABANDONED)
        self._database.write("abandon a batch", lambda connection: connection.execute(abandoned).rowcount)

    def keep_failed(self) -> int:
        """Suspect rows whose last call failed and none was confirmed before; return how many. Safe to repeat."""
        query = select(ROW_STATES.c.row_key).where(
            ROW_STATES.c.sync == self._sync,
            ROW_STATES.c.outcome == FAILED,
            ROW_STATES.c.delivered_at.is_(None),
            ROW_STATES.c.call_kind != self._maybe_sent,
        )
        keys = [key for (key,) in self._database.fetch("be asked about failed rows", query.distinct())]
        self._add(keys, NO_ATTEMPT)
        return len(keys)

    def _add(self, keys: Sequence[str], attempt: int) -> None:
        facts = {"outcome": FAILED, "tried_at": self._now, "attempt_id": attempt, "epoch": attempt}
        place = {"sync": self._sync, "call_kind": self._maybe_sent}
        own = [ROW_STATES.c[name] == value for name, value in place.items()]
        for chunk in chunks(sorted(keys)):
            rows = [{**place, **facts, "row_key": key} for key in chunk]
            again = update(ROW_STATES).where(*own, ROW_STATES.c.row_key.in_(chunk)).values(facts)
            self._database.write("suspect rows", partial(_write, rows=rows, again=again))


def _write(connection: Connection, *, rows: list[dict[str, object]], again: Update) -> None:
    insert_new(connection, ROW_STATES, rows)
    connection.execute(again)
