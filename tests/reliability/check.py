"""The one check after every run: what the platform, the files and the ledger hold is what the source says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlalchemy import create_engine, make_url, text

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.delivery.results import read_results
from reverse_etl.iterable.payloads import EVENT_TRACK, EventIds
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.redaction import KeyHasher
from tests.reliability.source import DELIVERED, EVENT, Source, View

TIME = "%Y-%m-%d %H:%M:%S +00:00"
DRIVERS = {"sqlite": "sqlite", "mysql": "mysql+mysqldb", "postgresql": "postgresql+psycopg"}

ATTEMPT = """
SELECT id, attempt, finished, rows_read, delivered, invalid, rejected, suppressed, failed, unchanged FROM runs
WHERE dag_id = :dag AND run_id = :run ORDER BY attempt DESC
"""
OUTCOMES = """
SELECT x.row_key AS row_key, k.name AS call_name, o.name AS outcome, c.name AS code
FROM outcomes x
JOIN labels k ON k.id = x.call_kind JOIN labels o ON o.id = x.outcome JOIN labels c ON c.id = x.code
WHERE x.attempt_id = :attempt ORDER BY x.mark_id
"""

NO_MARK = ("", "")

Calls = dict[tuple[str, str], tuple[str, str]]
"""Outcome and code by hashed key and call; the call is empty for a row that never became calls."""


class RunId(NamedTuple):
    """A run of a DAG."""

    dag: str
    run: str


@dataclass
class Observed:
    """What there is after a run."""

    users: list[dict[str, Any]]
    events: list[dict[str, Any]]
    quarantine: Calls
    totals: dict[str, int]
    report: dict[str, Any]
    results: dict[str, tuple[str, str]]
    results_repeated: int
    calls: Calls
    ledger_calls: Calls
    ledger_totals: dict[str, int]
    ledger_finished: bool


def observe(platform: Any, ledger_url: str, run: RunId, source: Source, pushed: Mapping[str, Any]) -> Observed:
    """Collect everything about a run. `platform` has users() and events(); `pushed` is the report's XCom result."""
    results, calls, repeated = _results(_local(pushed["parquet"]))
    with Ledger.open(ledger_url) as ledger:
        quarantine = {
            (call.key, call.call): (str(call.outcome), call.code) for call in ledger.quarantine.calls(run.dag)
        }
    attempt, ledger_calls = _ledger(ledger_url, run)
    return Observed(
        users=[user for user in platform.users() if (user["email"] or "").endswith(source.domain)],
        events=[event for event in platform.events() if (event["email"] or "").endswith(source.domain)],
        quarantine=quarantine,
        totals=dict(pushed["totals"]),
        report=orjson.loads(_local(pushed["json"]).read_bytes()),
        results=results,
        results_repeated=repeated,
        calls=calls,
        ledger_calls=ledger_calls,
        ledger_totals={outcome: attempt[outcome] or 0 for outcome in _words()} | {"read": attempt["rows_read"]},
        ledger_finished=attempt["finished"] is not None,
    )


def differences(source: Source, sync: str, seen: Observed, hash_key: str) -> list[str]:
    """Return everything that is not as the source says, each as a sentence that names rows by their id."""
    hasher = KeyHasher(hash_key)
    keys = {hasher((row.id,)): row.id for row in source.rows}
    return [
        *_users(source, seen.users),
        *_events(source, sync, seen.events),
        *_sums(source, seen),
        *_rows(source, seen, keys),
        *_quarantine(source, seen, keys),
        *_ledger_agrees(seen),
    ]


def _words() -> list[str]:
    return [str(outcome) for outcome in Outcome if outcome is not Outcome.PLANNED]


def _local(url: str) -> Path:
    return Path(url.removeprefix("file://"))


def _results(path: Path) -> tuple[dict[str, tuple[str, str]], Calls, int]:
    from airflow.sdk import ObjectStoragePath

    rows: dict[str, tuple[str, str]] = {}
    calls: Calls = {}
    repeated = 0
    for result in read_results(ObjectStoragePath(f"file://{path}")):
        repeated += result.key in rows
        rows[result.key] = (str(result.outcome), result.code)
        for call in result.calls:
            calls[result.key, call.call] = (str(call.outcome), call.code)
        if result.outcome is Outcome.INVALID:
            calls[result.key, ""] = (str(result.outcome), result.code)
    return rows, calls, repeated


def _ledger(url: str, run: RunId) -> tuple[Mapping[str, Any], Calls]:
    """Read the last attempt of a run as docs/ledger.md says it may be read."""
    address = make_url(url)
    engine = create_engine(address.set(drivername=DRIVERS[address.get_backend_name()]))
    try:
        with engine.connect() as connection:
            attempts = connection.execute(text(ATTEMPT), {"dag": run.dag, "run": run.run}).mappings().all()
            assert attempts, "the ledger knows nothing of the run"
            rows = connection.execute(text(OUTCOMES), {"attempt": attempts[0]["id"]}).all()
    finally:
        engine.dispose()
    calls: Calls = {}
    for row in rows:
        place = (row.row_key, row.call_name)
        if row.outcome == Outcome.DELIVERED or calls.get(place, NO_MARK)[0] != Outcome.DELIVERED:
            calls[place] = (row.outcome, row.code)
    return attempts[0], calls


# --- The platform ----------------------------------------------------------------------------------------------


def _profile(row: View) -> dict[str, Any]:
    fields = {"first_name": row.first_name, "score": row.score}
    kept = {name: value for name, value in fields.items() if value is not None}
    return {**kept, "candidate": bool(row.candidate), "recent_page_view": True}


def _users(source: Source, users: list[dict[str, Any]]) -> Iterator[str]:
    expected: dict[str, tuple[int, dict[str, Any]]] = {}
    for row, fate in zip(source.rows, source.fates, strict=True):
        if row.email and (fate == DELIVERED or fate.call == EVENT_TRACK):
            expected[row.email.lower()] = (row.id, _profile(row))
    found = {user["email"]: user["dataFields"] for user in users}
    if len(found) != len(users):
        yield f"{len(users) - len(found)} users are there twice"
    for email, (number, profile) in expected.items():
        if email not in found:
            yield f"row {number}: its user is missing"
        elif found[email] != profile:
            wrong = sorted(name for name in profile | found[email] if profile.get(name) != found[email].get(name))
            yield f"row {number}: its user differs in {', '.join(wrong)}"
    if extra := set(found) - set(expected):
        yield f"{len(extra)} users are there that the source does not have"


def _events(source: Source, sync: str, events: list[dict[str, Any]]) -> Iterator[str]:
    event_id = EventIds(sync, EVENT)
    expected = {
        event_id([row.id]): row for row, fate in zip(source.rows, source.fates, strict=True) if fate == DELIVERED
    }
    found = Counter(event["id"] for event in events)
    of_row = Counter(event["dataFields"].get("view_id") for event in events)
    yield from (f"row {expected[id_].id}: its event id is there {n} times" for id_, n in found.items() if n > 1)
    yield from (f"row {number}: it has {n} events" for number, n in of_row.items() if n > 1)
    yield from (f"row {row.id}: its event is missing" for id_, row in expected.items() if id_ not in found)
    for event in events:
        row = expected.get(event["id"])
        if row is None:
            yield f"an event of row {event['dataFields'].get('view_id')} is there under an id of no row"
        elif event != _event(row, event["id"]):
            yield f"row {row.id}: its event differs"


def _event(row: View, event_id: str) -> dict[str, Any]:
    page = {} if row.page is None else {"page": row.page}
    when = row.event_time.strftime(TIME)
    return {
        "id": event_id,
        "eventName": EVENT,
        "createdAt": when,
        "email": (row.email or "").lower(),
        "dataFields": {"view_id": row.id, "seen": when, "detail": orjson.loads(row.detail), **page},
    }


# --- The result and the ledger ---------------------------------------------------------------------------------


def _sums(source: Source, seen: Observed) -> Iterator[str]:
    expected = dict.fromkeys(_words(), 0) | {str(outcome): count for outcome, count in source.of_fate.items()}
    read = len(source.rows)
    if seen.totals.get("read") != read:
        yield f"{seen.totals.get('read')} rows were read, expected {read}"
    if sum(count for name, count in seen.totals.items() if name != "read") != read:
        yield f"the totals {seen.totals} do not add up to {read}"
    for place, counts in (("XCom", seen.totals), ("JSON", seen.report["totals"]), ("ledger", seen.ledger_totals)):
        wrong = {name: counts.get(name) for name, count in expected.items() if counts.get(name) != count}
        if wrong:
            yield f"the totals in the {place} are {wrong}, expected { ({name: expected[name] for name in wrong}) }"
    if not seen.ledger_finished:
        yield "the ledger does not know the end of the run"


def _rows(source: Source, seen: Observed, keys: Mapping[str, int]) -> Iterator[str]:
    if seen.results_repeated:
        yield f"{seen.results_repeated} rows have two results"
    numbers = {keys.get(key): result for key, result in seen.results.items()}
    if None in numbers:
        yield "a result is there for a key of no row"
    for row, fate in zip(source.rows, source.fates, strict=True):
        if numbers.get(row.id) != (str(fate.outcome), fate.code):
            yield f"row {row.id}: its result is {numbers.get(row.id)}, expected {fate.outcome} {fate.code}"


def _quarantine(source: Source, seen: Observed, keys: Mapping[str, int]) -> Iterator[str]:
    expected = {
        (row.id, fate.call): (str(fate.outcome), fate.code)
        for row, fate in zip(source.rows, source.fates, strict=True)
        if fate.outcome in (Outcome.INVALID, Outcome.REJECTED)
    }
    found = {(keys.get(key, 0), call): value for (key, call), value in seen.quarantine.items()}
    for place in sorted(expected.keys() | found.keys()):
        if expected.get(place) != found.get(place):
            yield f"row {place[0]}: in quarantine is {found.get(place)} for {place[1] or 'the row'}, " + (
                f"expected {expected.get(place)}"
            )


def _ledger_agrees(seen: Observed) -> Iterator[str]:
    wrong = [place for place in seen.calls | seen.ledger_calls if seen.calls.get(place) != seen.ledger_calls.get(place)]
    if wrong:
        told, kept = seen.calls.get(wrong[0]), seen.ledger_calls.get(wrong[0])
        yield f"{len(wrong)} calls differ between the results and the ledger, one is {told} and {kept}"
