"""The one transaction that records what became of calls: outcomes and quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

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
        self.outcomes = Upsert(
            dialect,
            OUTCOMES,
            {
                name: kept.format(stays=stays, there=there, name=name)
                for name, there in {"fingerprint": still_true, **{name: f"outcomes.{name}" for name in names}}.items()
            },
            same=("attempt_id", "batch", "at"),
        )
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
    """Results of one batch of one attempt, ready to be written: one result per key and call, in key order.

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
        writers.outcomes(connection, list(self._outcomes()), (self.attempt_id, self.batch, self.at))
        self._leave_quarantine(connection)
        writers.quarantine(connection, list(self._quarantined()))

    def _outcomes(self) -> Iterator[tuple[object, ...]]:
        numbers, labels = OUTCOME_NUMBERS, self.labels
        for key, call, outcome, code, status, tries, request_id, fingerprint in self.results:
            identified = fingerprint.hex() if fingerprint is not None else None
            yield key, labels[call], labels[code], status, tries, request_id, identified, numbers[outcome]

    def _leave_quarantine(self, connection: Connection) -> None:
        of_the_sync = QUARANTINE.c.sync == self.sync
        if connection.execute(select(QUARANTINE.c.row_key).where(of_the_sync).limit(1)).first() is None:
            return
        for call, keys in self._delivered_by_call():
            connection.execute(
                delete(QUARANTINE)
                .where(of_the_sync, QUARANTINE.c.row_key.in_(keys))
                .where(QUARANTINE.c.call_kind.in_([call, WHOLE_ROW]))
            )

    def _quarantined(self) -> Iterator[tuple[object, ...]]:
        for key, call, outcome, code, status, _, request_id, _ in self.results:
            if outcome in QUARANTINED:
                seen = (self.at, self.at, 1, self.attempt_id)
                yield self.sync, key, call, outcome.value, code, status, request_id, *seen

    def _delivered_by_call(self) -> Iterator[tuple[str, list[str]]]:
        found = sorted((result.call, result.key) for result in self.results if result.outcome is Outcome.DELIVERED)
        for call, pairs in groupby(found, key=lambda pair: pair[0]):
            keys = [key for _, key in pairs]
            for start in range(0, len(keys), KEYS_PER_STATEMENT):
                yield call, keys[start : start + KEYS_PER_STATEMENT]


def settled(results: Iterable[Marked]) -> list[Marked]:
    """Return one result per key and call, in key order: the last delivery where there is one, else the last.

    A delivery followed by another version of the call that was not confirmed loses its fingerprint.
    Raises ConfigurationError for a result the ledger cannot hold.
    """
    latest: dict[tuple[str, str], Marked] = {}
    for result in results:
        place = (result.key, result.call)
        before = latest.get(place)
        if before is None or before.outcome is not Outcome.DELIVERED or result.outcome is Outcome.DELIVERED:
            latest[place] = result
        elif before.fingerprint != result.fingerprint:
            latest[place] = before._replace(fingerprint=None)
    return [_checked(latest[place]) for place in sorted(latest)]


def _checked(result: Marked) -> Marked:
    if result.outcome not in OUTCOME_NUMBERS:
        raise ConfigurationError(f"the outcome {result.outcome} is not kept in the ledger; a dry run records nothing")
    if len(result.key) != ROW_KEY_LENGTH:
        raise ConfigurationError(f"a hashed key has {len(result.key)} characters, expected {ROW_KEY_LENGTH}")
    fingerprint = result.fingerprint
    if fingerprint is not None and len(fingerprint) != FINGERPRINT_BYTES:
        raise ConfigurationError(f"a fingerprint has {len(fingerprint)} bytes, expected {FINGERPRINT_BYTES}")
    return result


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
