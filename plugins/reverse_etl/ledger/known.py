"""The rows of a sync the platform may hold, doubting those about to be removed there, forgetting the removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Delete, Select, Update, delete, func, or_, select, update

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.chunks import chunks
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.schema import OUTCOME_NUMBERS, ROW_STATES

PAGE = 50_000


class KnownRows:
    """The rows of one sync, `number` being its label, that were delivered once or may have been."""

    def __init__(self, database: Database, number: int) -> None:
        self._database = database
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

    def doubt(self, keys: Sequence[str], *, before: int) -> int:
        """Forget what rows looked like when they were delivered, under the conditions of `forget`.

        They are still known, but equal nothing: one that is in the source again is sent.
        """
        return self._change(keys, update(ROW_STATES).values(fingerprint=None), before)

    def forget(self, keys: Sequence[str], *, before: int) -> int:
        """Forget what is known of rows, unless it was settled when attempt `before` or a later one had begun.

        They then count as never delivered. Returns how many calls that were; safe to repeat.
        """
        return self._change(keys, delete(ROW_STATES), before)

    def _change(self, keys: Sequence[str], change: Delete | Update, before: int) -> int:
        settled = change.where(ROW_STATES.c.sync == self._sync, ROW_STATES.c.epoch < before)
        return sum(self._write(settled.where(ROW_STATES.c.row_key.in_(chunk))) for chunk in chunks(sorted(keys)))

    def _write(self, statement: Delete | Update) -> int:
        return self._database.write("forget removed rows", lambda connection: connection.execute(statement).rowcount)

    def _fetch(self, query: Select[Any]) -> list[tuple[str, int]]:
        return [(key, epoch) for key, epoch in self._database.fetch("be asked for known rows", query)]
