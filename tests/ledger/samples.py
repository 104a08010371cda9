"""Values for the ledger's tests, and a look into its tables."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import create_engine, make_url, text

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.records import Marked, RunRef

DAY = date(2026, 1, 13)
START = datetime(2026, 1, 14, 6, 30, tzinfo=UTC)
UPDATE, TRACK = "user_update", "event_track"
FINGERPRINT = b"0123456789abcdef"
ACCOUNT = "a" * 32


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START.timestamp()

    def __call__(self) -> float:
        return self.now


def key(name: object) -> str:
    return hashlib.blake2b(str(name).encode(), digest_size=16).hexdigest()


def ref(**changes: Any) -> RunRef:
    facts: dict[str, Any] = {
        "dag_id": "page_views",
        "run_id": "manual__1",
        "sync": "page_views",
        "attempt": 0,
        "day": DAY,
        "window_days": 7,
    }
    return RunRef(**{**facts, **changes})


def delivered(name: object, call: str = UPDATE, fingerprint: bytes | None = FINGERPRINT) -> Marked:
    return Marked(key(name), call, Outcome.DELIVERED, "delivered", 200, 1, "request-1", fingerprint)


def rejected(name: object, call: str = UPDATE, code: str = "InvalidEmailAddressError") -> Marked:
    return Marked(key(name), call, Outcome.REJECTED, code, 400, 1, "request-2")


def failed(name: object, call: str = UPDATE, fingerprint: bytes | None = None) -> Marked:
    return Marked(key(name), call, Outcome.FAILED, "GenericError", 500, 3, None, fingerprint)


def query(url: str, sql: str) -> Sequence[tuple[Any, ...]]:
    """Run one statement on the database behind a ledger URL, as somebody with a SQL client would."""
    return statements(url, sql)


def statements(url: str, *texts: str) -> Sequence[tuple[Any, ...]]:
    """Run statements in one transaction; return the rows of the last one."""
    drivers = {"sqlite": "sqlite+pysqlite", "mysql": "mysql+mysqldb", "postgresql": "postgresql+psycopg"}
    address = make_url(url)
    engine = create_engine(address.set(drivername=drivers[address.drivername]))
    try:
        with engine.begin() as connection:
            *_, result = [connection.execute(text(sql)) for sql in texts]
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table but the labels, which only grow."""
    tables = ("runs", "outcomes", "row_states", "quarantine", "rate_budgets", "privacy_actions")
    return {table: sorted(query(url, f"SELECT * FROM {table}"), key=repr) for table in tables}


def database(url: str) -> Any:
    return closing(Database(url, patience=5))
