"""The one transaction that records what became of calls: outcomes and quarantine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import orjson
from sqlalchemy import Connection, Dialect, delete, insert, text

from reverse_etl.delivery.journal import MarkedRow, Marks
from reverse_etl.delivery.outcomes import CallResult, Outcome
from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.chunks import chunks
from reverse_etl.ledger.records import (
    FINGERPRINT_BYTES,
    LONGEST_CODE,
    LONGEST_NAME,
    LONGEST_REQUEST_ID,
    WHOLE_ROW,
    Marked,
    check_name,
    plain,
)
from reverse_etl.ledger.schema import MARKS, OUTCOME_NUMBERS, QUARANTINE
from reverse_etl.ledger.upserts import Upsert

QUARANTINED = (Outcome.INVALID, Outcome.REJECTED)
"""Refused for good, by us or by them; another try needs another row."""

SETTLED = (Outcome.DELIVERED, Outcome.SUPPRESSED)
"""Nothing is left to do about the call: it leaves the quarantine."""

ANY_IN_QUARANTINE = text("SELECT 1 FROM quarantine WHERE sync = :sync LIMIT 1")

ROW_KEY_LENGTH = 32

ROWS_PER_MARK = 5_000
"""About half a megabyte, well below what a server takes in one packet."""


def into_quarantine(dialect: Dialect) -> Upsert:
    """Return what writes refused calls into the quarantine of one database."""
    again = "CASE WHEN quarantine.attempt_id = excluded.attempt_id THEN {same} ELSE {other} END"
    return Upsert(
        dialect,
        QUARANTINE,
        {
            **{name: f"excluded.{name}" for name in ("outcome", "code", "status", "request_id")},
            "last_seen": again.format(same="quarantine.last_seen", other="excluded.last_seen"),
            "tries": again.format(same="quarantine.tries", other="quarantine.tries + 1"),
            "attempt_id": "excluded.attempt_id",
        },
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """Results of one batch of one attempt, ready to be written."""

    attempt_id: int
    sync: str
    batch: int
    at: int
    groups: Sequence[Marks]
    labels: Mapping[str, int]

    def write(self, connection: Connection, quarantine: Upsert) -> None:
        """Write everything; the caller's transaction makes it all or nothing."""
        connection.execute(insert(MARKS), list(self._rows()))
        may_leave = connection.execute(ANY_IN_QUARANTINE, {"sync": self.sync}).first() is not None
        for result, rows in self.groups:
            if may_leave:
                self._leave_quarantine(connection, result, rows)
            if result.outcome in QUARANTINED:
                quarantine(connection, self._quarantined(result, rows))
                may_leave = True

    def _rows(self) -> Iterator[dict[str, object]]:
        for result, rows in self.groups:
            facts = {
                "attempt_id": self.attempt_id,
                "batch": self.batch,
                "call_kind": self.labels[result.call],
                "outcome": OUTCOME_NUMBERS[result.outcome],
                "code": self.labels[result.code],
                "status": result.status,
                "tries": result.tries,
                "request_id": result.request_id,
                "at": self.at,
            }
            for some in chunks(rows, ROWS_PER_MARK):
                yield {**facts, "calls": len(some), "marked_rows": orjson.dumps(some).decode()}

    def _leave_quarantine(self, connection: Connection, result: CallResult, rows: Sequence[MarkedRow]) -> None:
        """Take out calls that are settled, and rows refused by the platform that we refused before."""
        if result.outcome in SETTLED:
            leaving = [result.call, WHOLE_ROW]
        elif result.outcome is Outcome.REJECTED and result.call != WHOLE_ROW:
            leaving = [WHOLE_ROW]
        else:
            return
        for keys in chunks(sorted(key for _, key, _ in rows)):
            connection.execute(
                delete(QUARANTINE)
                .where(QUARANTINE.c.sync == self.sync, QUARANTINE.c.row_key.in_(keys))
                .where(QUARANTINE.c.call_kind.in_(leaving))
            )

    def _quarantined(self, result: CallResult, rows: Sequence[MarkedRow]) -> list[tuple[object, ...]]:
        """Return refused calls; rows that share a key are one, for PostgreSQL refuses to write a row twice."""
        facts = (result.call, result.outcome.value, result.code, result.status, result.request_id)
        seen = (self.at, self.at, 1, self.attempt_id)
        return [(self.sync, key, *facts, *seen) for key in sorted({key for _, key, _ in rows})]


def grouped(results: Sequence[Marked]) -> list[Marks]:
    """Return results by what they have in common, in their order.

    Raises ConfigurationError for keys and fingerprints of another length than hashes have.
    """
    groups = []
    for facts, alike in itertools.groupby(results, itemgetter(*_FACTS)):
        rows = [(mark.place, mark.key, None if mark.fingerprint is None else mark.fingerprint.hex()) for mark in alike]
        _check_lengths(rows)
        groups.append(Marks(CallResult(*facts), rows))
    return groups


_FACTS = [Marked._fields.index(name) for name in ("call", "outcome", "code", "status", "tries", "request_id")]


def cleaned(groups: Sequence[Marks]) -> list[Marks]:
    """Return groups with codes and request ids, which come from outside, as every database can keep them.

    Raises ConfigurationError for an outcome the ledger does not keep and a call with an unusable name.
    """
    kept = []
    for result, rows in groups:
        if result.outcome not in OUTCOME_NUMBERS:
            raise ConfigurationError(
                f"the outcome {result.outcome} is not kept in the ledger; a dry run records nothing"
            )
        if result.call != WHOLE_ROW:
            check_name("a call", result.call, LONGEST_NAME)
        code = plain(result.code, LONGEST_CODE) or "unknown"
        request_id = result.request_id and plain(result.request_id, LONGEST_REQUEST_ID)
        kept.append(Marks(replace(result, code=code, request_id=request_id), rows))
    return kept


def _check_lengths(rows: Sequence[MarkedRow]) -> None:
    for length in {len(key) for _, key, _ in rows} - {ROW_KEY_LENGTH}:
        raise ConfigurationError(f"a hashed key has {length} characters, expected {ROW_KEY_LENGTH}")
    for digits in {len(fingerprint or "") for _, _, fingerprint in rows} - {0, 2 * FINGERPRINT_BYTES}:
        raise ConfigurationError(f"a fingerprint has {digits // 2} bytes, expected {FINGERPRINT_BYTES}")
