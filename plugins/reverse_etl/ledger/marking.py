"""The one transaction that records what became of calls: outcomes and quarantine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Dialect, delete, select

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.errors import ConfigurationError
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

KEYS_PER_STATEMENT = 500

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


@dataclass(frozen=True, slots=True)
class Mark:
    """Results of one batch of one attempt, ready to be written: one per call and row, in the order of the table.

    Sorted, so that workers that meet the same rows lock them in the same order, and neighbours share a page.
    """

    attempt_id: int
    sync: str
    batch: int
    at: int
    results: Sequence[Marked]
    labels: Mapping[str, int]

    def write(self, connection: Connection, writers: Writers) -> None:
        """Write everything; the caller's transaction makes it all or nothing."""
        self._write_outcomes(connection, writers)
        self._leave_quarantine(connection)
        writers.quarantine(connection, list(self._quarantined()))

    def _write_outcomes(self, connection: Connection, writers: Writers) -> None:
        of_the_batch = (self.attempt_id, self.batch, self.at)
        alike = self._alike()
        if len(alike) > MOST_GROUPS_ALIKE:
            writers.outcomes(connection, list(self._outcomes()), of_the_batch)
            return
        for (call, code, status, tries, request_id, outcome), rows in alike.items():
            shared = (self.labels[call], self.labels[code], status, tries, request_id, OUTCOME_NUMBERS[outcome])
            writers.outcomes_alike(connection, rows, of_the_batch + shared)

    def _alike(self) -> dict[tuple[Any, ...], list[tuple[object, ...]]]:
        """Return the keys and fingerprints of calls by what they have in common."""
        groups: dict[tuple[Any, ...], list[tuple[object, ...]]] = {}
        for key, call, outcome, code, status, tries, request_id, fingerprint, place in self.results:
            identified = fingerprint.hex() if fingerprint is not None else None
            groups.setdefault((call, code, status, tries, request_id, outcome), []).append((place, key, identified))
        return groups

    def _outcomes(self) -> Iterator[tuple[object, ...]]:
        numbers, labels = OUTCOME_NUMBERS, self.labels
        for key, call, outcome, code, status, tries, request_id, fingerprint, place in self.results:
            identified = fingerprint.hex() if fingerprint is not None else None
            yield labels[call], place, key, labels[code], status, tries, request_id, identified, numbers[outcome]

    def _leave_quarantine(self, connection: Connection) -> None:
        of_the_sync = QUARANTINE.c.sync == self.sync
        if connection.execute(select(QUARANTINE.c.row_key).where(of_the_sync).limit(1)).first() is None:
            return
        for call, keys in self._leaving_by_call():
            connection.execute(
                delete(QUARANTINE)
                .where(of_the_sync, QUARANTINE.c.row_key.in_(keys))
                .where(QUARANTINE.c.call_kind.in_([call, WHOLE_ROW]))
            )

    def _quarantined(self) -> Iterator[tuple[object, ...]]:
        for key, call, outcome, code, status, _, request_id, *_ in self.results:
            if outcome in QUARANTINED:
                seen = (self.at, self.at, 1, self.attempt_id)
                yield self.sync, key, call, outcome.value, code, status, request_id, *seen

    def _leaving_by_call(self) -> Iterator[tuple[str, list[str]]]:
        """Yield calls that are settled, and of rows refused by the platform that we refused them before."""
        found = sorted(
            (result.call if result.outcome in SETTLED else WHOLE_ROW, result.key)
            for result in self.results
            if result.outcome in SETTLED or (result.outcome is Outcome.REJECTED and result.call != WHOLE_ROW)
        )
        for call, pairs in groupby(found, key=lambda pair: pair[0]):
            keys = [key for _, key in pairs]
            for start in range(0, len(keys), KEYS_PER_STATEMENT):
                yield call, keys[start : start + KEYS_PER_STATEMENT]


def settled(results: Sequence[Marked]) -> list[Marked]:
    """Return one result per call and row, sorted by them: the last delivery where there is one, else the last.

    A delivery followed by another version of the call that was not confirmed loses its fingerprint.
    Raises ConfigurationError for a result the ledger cannot hold.
    """
    latest: dict[tuple[str, int, str], Marked] = {}
    for result in results:
        place = _of_a_row(result)
        before = latest.get(place)
        if before is None or before.outcome is not Outcome.DELIVERED or result.outcome is Outcome.DELIVERED:
            latest[place] = result
        elif before.fingerprint != result.fingerprint:
            latest[place] = before._replace(fingerprint=None)
    return _all_checked([latest[place] for place in sorted(latest)])


_of_a_row = attrgetter("call", "place", "key")


def _all_checked(results: list[Marked]) -> list[Marked]:
    for outcome in {result.outcome for result in results} - OUTCOME_NUMBERS.keys():
        raise ConfigurationError(f"the outcome {outcome} is not kept in the ledger; a dry run records nothing")
    for length in {len(result.key) for result in results} - {ROW_KEY_LENGTH}:
        raise ConfigurationError(f"a hashed key has {length} characters, expected {ROW_KEY_LENGTH}")
    for length in {len(result.fingerprint or b"") for result in results} - {0, FINGERPRINT_BYTES}:
        raise ConfigurationError(f"a fingerprint has {length} bytes, expected {FINGERPRINT_BYTES}")
    return results


def cleaned(results: Sequence[Marked]) -> list[Marked]:
    """Return results with codes and request ids, which come from outside, as every database can keep them."""
    calls = {result.call for result in results} - {WHOLE_ROW}
    for call in calls:
        check_name("a call", call, LONGEST_NAME)
    codes = {code: plain(code, LONGEST_CODE) or "unknown" for code in {result.code for result in results}}
    ids = {found: found and plain(found, LONGEST_REQUEST_ID) for found in {result.request_id for result in results}}
    if all(map(_is_same, codes.items())) and all(map(_is_same, ids.items())):
        return list(results)
    return [result._replace(code=codes[result.code], request_id=ids[result.request_id]) for result in results]


def _is_same(pair: tuple[object, object]) -> bool:
    return pair[0] == pair[1]
