"""The one transaction that records what became of calls: outcomes and quarantine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, delete, text

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
from reverse_etl.ledger.schema import OUTCOME_NUMBERS, OUTCOMES, QUARANTINE
from reverse_etl.ledger.upserts import Upsert

DELIVERED = OUTCOME_NUMBERS[Outcome.DELIVERED]

QUARANTINED = (Outcome.INVALID, Outcome.REJECTED)
"""Refused for good, by us or by them; another try needs another row."""

SETTLED = (Outcome.DELIVERED, Outcome.SUPPRESSED)
"""Nothing is left to do about the call: it leaves the quarantine."""

ALIKE = ("call_kind", "code", "status", "tries", "request_id", "outcome")
"""What the calls of a bulk request have in common when nothing went wrong."""

MOST_GROUPS_ALIKE = 4

ANY_IN_QUARANTINE = text("SELECT 1 FROM quarantine WHERE sync = :sync LIMIT 1")

ROW_KEY_LENGTH = 32


class Writers:
    """The prepared upserts of one database."""

    def __init__(self, dialect: Dialect) -> None:
        stays = f"outcomes.outcome = {DELIVERED} AND excluded.outcome <> {DELIVERED}"
        kept = "CASE WHEN {stays} THEN {there} ELSE excluded.{name} END"
        # Another version of the call may have been applied since.
        still_true = "CASE WHEN outcomes.fingerprint = excluded.fingerprint THEN outcomes.fingerprint END"
        names = ("code", "status", "tries", "request_id", "at", "outcome")
        updates = {
            name: kept.format(stays=stays, there=there, name=name)
            for name, there in {"fingerprint": still_true, **{name: f"outcomes.{name}" for name in names}}.items()
        }
        of_the_batch = ("attempt_id", "batch", "at")
        self.outcomes = Upsert(dialect, OUTCOMES, updates, same=of_the_batch)
        self.outcomes_alike = Upsert(dialect, OUTCOMES, updates, same=(*of_the_batch, *ALIKE))
        again = "CASE WHEN quarantine.attempt_id = excluded.attempt_id THEN {same} ELSE {other} END"
        self.quarantine = Upsert(
            dialect,
            QUARANTINE,
            {
                **{name: f"excluded.{name}" for name in ("outcome", "code", "status", "request_id")},
                "last_seen": again.format(same="quarantine.last_seen", other="excluded.last_seen"),
                "tries": again.format(same="quarantine.tries", other="quarantine.tries + 1"),
                "attempt_id": "excluded.attempt_id",
            },
        )


class Alike(NamedTuple):
    """Calls of different rows that ended the same; a row is its place, its hashed key, its fingerprint in hexadecimal.

    Rows are in the order of the table, so that workers that meet the same ones lock them in the same order, and
    neighbours share a page.
    """

    result: CallResult
    rows: list[tuple[int, str, str | None]]


@dataclass(frozen=True, slots=True)
class Mark:
    """Results of one batch of one attempt, ready to be written: one per call and row."""

    attempt_id: int
    sync: str
    batch: int
    at: int
    groups: Sequence[Alike]
    labels: Mapping[str, int]

    def write(self, connection: Connection, writers: Writers) -> None:
        """Write everything; the caller's transaction makes it all or nothing."""
        self._write_outcomes(connection, writers)
        self._leave_quarantine(connection)
        writers.quarantine(connection, self._quarantined())

    def _write_outcomes(self, connection: Connection, writers: Writers) -> None:
        of_the_batch = (self.attempt_id, self.batch, self.at)
        if len(self.groups) > MOST_GROUPS_ALIKE:
            writers.outcomes(connection, sorted(self._outcomes()), of_the_batch)
            return
        for result, rows in self.groups:
            writers.outcomes_alike(connection, rows, of_the_batch + self._shared(result))

    def _shared(self, result: CallResult) -> tuple[object, ...]:
        numbers = (self.labels[result.call], self.labels[result.code])
        return (*numbers, result.status, result.tries, result.request_id, OUTCOME_NUMBERS[result.outcome])

    def _outcomes(self) -> Iterator[tuple[Any, ...]]:
        for result, rows in self.groups:
            call, code, status, tries, request_id, outcome = self._shared(result)
            for place, key, fingerprint in rows:
                yield call, place, key, code, status, tries, request_id, fingerprint, outcome

    def _leave_quarantine(self, connection: Connection) -> None:
        if connection.execute(ANY_IN_QUARANTINE, {"sync": self.sync}).first() is None:
            return
        for call, keys in self._leaving_by_call():
            connection.execute(
                delete(QUARANTINE)
                .where(QUARANTINE.c.sync == self.sync, QUARANTINE.c.row_key.in_(keys))
                .where(QUARANTINE.c.call_kind.in_([call, WHOLE_ROW]))
            )

    def _quarantined(self) -> list[tuple[object, ...]]:
        """Return refused calls; rows that share a key are one, for PostgreSQL refuses to write a row twice."""
        seen = (self.at, self.at, 1, self.attempt_id)
        found: dict[tuple[str, str], tuple[object, ...]] = {}
        for result, rows in self.groups:
            if result.outcome in QUARANTINED:
                facts = (result.call, result.outcome.value, result.code, result.status, result.request_id)
                found |= {(key, result.call): (self.sync, key, *facts, *seen) for _, key, _ in rows}
        return list(found.values())

    def _leaving_by_call(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield calls that are settled, and of rows refused by the platform that we refused them before."""
        for result, rows in self.groups:
            if result.outcome in SETTLED or (result.outcome is Outcome.REJECTED and result.call != WHOLE_ROW):
                call = result.call if result.outcome in SETTLED else WHOLE_ROW
                for keys in chunks(sorted(key for _, key, _ in rows)):
                    yield call, keys


def grouped(results: Sequence[Marked]) -> list[Alike]:
    """Return the `settled` results by what they have in common, as the ledger can keep them.

    Raises ConfigurationError for a result the ledger cannot hold.
    """
    groups: dict[tuple[Any, ...], Alike] = {}
    for key, call, outcome, code, status, tries, request_id, fingerprint, place in settled(results):
        facts = (call, outcome, code, status, tries, request_id)
        group = groups.get(facts)
        if group is None:
            group = groups[facts] = Alike(CallResult(*facts), [])
        group.rows.append((place, key, fingerprint.hex() if fingerprint is not None else None))
    return cleaned(list(groups.values()))


def cleaned(groups: Sequence[Alike]) -> list[Alike]:
    """Return groups with codes and request ids, which come from outside, as every database can keep them.

    Raises ConfigurationError for an outcome the ledger does not keep, a call with an unusable name, and keys and
    fingerprints of another length.
    """
    kept = []
    for result, rows in groups:
        _check_lengths(rows)
        if result.outcome not in OUTCOME_NUMBERS:
            raise ConfigurationError(
                f"the outcome {result.outcome} is not kept in the ledger; a dry run records nothing"
            )
        if result.call != WHOLE_ROW:
            check_name("a call", result.call, LONGEST_NAME)
        code = plain(result.code, LONGEST_CODE) or "unknown"
        request_id = result.request_id and plain(result.request_id, LONGEST_REQUEST_ID)
        kept.append(Alike(replace(result, code=code, request_id=request_id), rows))
    return kept


def settled(results: Sequence[Marked]) -> list[Marked]:
    """Return one result per call and row, sorted by them: the last delivery where there is one, else the last.

    A delivery followed by another version of the call that was not confirmed loses its fingerprint.
    """
    latest: dict[tuple[str, int, str], Marked] = {}
    for result in results:
        place = _of_a_row(result)
        before = latest.get(place)
        if before is None or before.outcome is not Outcome.DELIVERED or result.outcome is Outcome.DELIVERED:
            latest[place] = result
        elif before.fingerprint != result.fingerprint:
            latest[place] = before._replace(fingerprint=None)
    return [latest[place] for place in sorted(latest)]


_of_a_row = attrgetter("call", "place", "key")


def _check_lengths(rows: Sequence[tuple[int, str, str | None]]) -> None:
    for length in {len(key) for _, key, _ in rows} - {ROW_KEY_LENGTH}:
        raise ConfigurationError(f"a hashed key has {length} characters, expected {ROW_KEY_LENGTH}")
    for digits in {len(fingerprint or "") for _, _, fingerprint in rows} - {0, 2 * FINGERPRINT_BYTES}:
        raise ConfigurationError(f"a fingerprint has {digits // 2} bytes, expected {FINGERPRINT_BYTES}")
