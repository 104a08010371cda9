"""Reading what was recorded of a batch: marks in the order they were made, and what they come to."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Row, select

from reverse_etl.ledger.database import Database
from reverse_etl.ledger.labels import Labels
from reverse_etl.ledger.records import Marked, fingerprint_of
from reverse_etl.ledger.schema import DELIVERED, MARKS, OUTCOME_OF

COLUMNS = ("call_kind", "outcome", "code", "status", "tries", "request_id", "at", "marked_rows")


CallOfRow = tuple[str, int, int]
"""One call of one row of a batch: the hashed key, the label of the call, the place."""

Last = tuple[int, int, str | None, Row[Any]]
"""Outcome and moment of the mark that counts for a call, the fingerprint in hexadecimal, the row of `marks`."""


def last_marks(database: Database, attempt: int, batch: int) -> dict[CallOfRow, Last]:
    """Return the mark that counts for each call of a batch: the last delivery where there is one, else the last.

    A delivery followed by another version of the call that was not confirmed loses its fingerprint.
    """
    of_batch = select(*(MARKS.c[name] for name in COLUMNS)).where(MARKS.c.attempt_id == attempt, MARKS.c.batch == batch)
    found: dict[CallOfRow, Last] = {}
    for mark in database.fetch("be asked about a batch", of_batch.order_by(MARKS.c.call_kind, MARKS.c.id)):
        call, outcome, at = mark.call_kind, mark.outcome, mark.at
        for place, key, fingerprint in orjson.loads(mark.marked_rows):
            row = (key, call, place)
            before = found.get(row)
            if before is None or outcome == DELIVERED or before[0] != DELIVERED:
                found[row] = (outcome, at, fingerprint, mark)
            elif before[2] != fingerprint:
                found[row] = (*before[:2], None, before[3])
    return found


def recorded(database: Database, labels: Labels, attempt: int, batch: int) -> list[Marked]:
    """Return what became of each call of a batch."""
    found = last_marks(database, attempt, batch)
    marks = {id(mark): mark for *_, mark in found.values()}
    names = labels.names({number for mark in marks.values() for number in (mark.call_kind, mark.code)})
    return [
        Marked(
            key,
            names[call],
            OUTCOME_OF[outcome],
            names[mark.code],
            mark.status,
            mark.tries,
            mark.request_id,
            fingerprint_of(fingerprint),
            place,
        )
        for (key, call, place), (outcome, _, fingerprint, mark) in found.items()
    ]
