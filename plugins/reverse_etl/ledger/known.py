"""The rows of a sync the platform may hold, doubting those about to be removed there, forgetting the removed.

A forgotten row leaves a state that says nothing, but is not older than any attempt under way: one that goes on
afterwards, such as a replay whose worker was killed, would else record as there what was sent before the removal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, Update, func, or_, select, update

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.chunks import chunks
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.records import Clock
from reverse_etl.ledger.schema import OUTCOME_NUMBERS, ROW_STATES, RUNS
from reverse_etl.ledger.settling import NOBODY
from reverse_etl.ledger.times import MICROSECONDS

PAGE = 50_000

FORGOTTEN = {"delivered_at": None, "outcome": OUTCOME_NUMBERS[Outcome.SUPPRESSED], "attempt_id": NOBODY}
"""What tells the state of a forgotten row; a call that two attempts had suppressed and none delivered is as void."""


class KnownRows:
    """The rows of one sync, `number` being its label, that were delivered once or may have been."""

    def __init__(self, database: Database, clock: Clock, number: int) -> None:
        self._database = database
        self._clock = clock
        self._sync = number

    def pages(self, *, page: int = PAGE) -> Iterator[list[tuple[str, int]]]:
        """Yield hashed keys in their order, each with the newest attempt there was when it was last settled.

        Rows settled while another run is under way may or may not be seen; the number tells them.
        """
        maybe_there = or_(
            ROW_STATES.c.delivered_at.is_not(None), ROW_STATES.c.outcome == OUTCOME_NUMBERS[Outcome.FAILED]
        )
        query = (
            select(ROW_STATES.c.row_key, func.max(ROW_STATES.c.epoch))
            .where(ROW_STATES.c.sync == self._sync, maybe_there)
            .group_by(ROW_STATES.c.row_key)
            .order_by(ROW_STATES.c.row_key)
            .limit(page)
        )
        rows = self._fetch(query)
        while rows:
            yield rows
            rows = self._fetch(query.where(ROW_STATES.c.row_key > rows[-1][0])) if len(rows) == page else []

    def doubt(self, keys: Sequence[str]) -> int:
        """Forget what rows looked like when they were delivered; return how many calls that were.

        They are still known, but equal nothing: one that is in the source again is sent.
        """
        return self._change(keys, update(ROW_STATES).values(fingerprint=None))

    def forget(self, keys: Sequence[str], *, before: int) -> int:
        """Forget rows that attempt `before` removed: they count as never delivered. Return how many calls that were.

        What was settled after it had begun may have been sent after the removal, or before: it stays, in doubt. So does
        what older attempts settle from now on. Safe to repeat.
        """
        self.doubt(keys)
        newest = select(func.max(RUNS.c.id)).scalar_subquery()
        now = int(self._clock() * MICROSECONDS)
        forgotten = update(ROW_STATES).values(**FORGOTTEN, tried_at=now, epoch=newest)
        return self._change(keys, forgotten.where(ROW_STATES.c.epoch < before))

    def _change(self, keys: Sequence[str], change: Update) -> int:
        of_sync = change.where(ROW_STATES.c.sync == self._sync)
        return sum(self._write(of_sync.where(ROW_STATES.c.row_key.in_(chunk))) for chunk in chunks(sorted(keys)))

    def _write(self, statement: Update) -> int:
        return self._database.write("forget removed rows", lambda connection: connection.execute(statement).rowcount)

    def _fetch(self, query: Select[Any]) -> list[tuple[str, int]]:
        return [(key, epoch) for key, epoch in self._database.fetch("be asked for known rows", query)]
