"""A ledger of an older version keeps what it knows when a newer package opens it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.attempts import Attempt
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.migrating import SCRIPTS
from reverse_etl.ledger.records import Marked
from reverse_etl.ledger.schema import MARKS, VERSION_TABLE
from tests.ledger.samples import FINGERPRINT, START, UPDATE, database, key, query, ref, statements

AT = int(START.timestamp() * 1_000_000)
ROWS = 6_000


def upgrade(url: str, version: str) -> None:
    def migrate(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, version)

    with database(url) as opened:
        opened.write("be migrated", migrate)


@pytest.fixture
def old_url(url: str) -> str:
    """A ledger of version 0005 with an attempt that has delivered many rows of a batch and was refused one."""
    upgrade(url, "0005")
    columns = "attempt_id, batch, call_kind, place, row_key, code, status, tries, request_id, fingerprint, at, outcome"
    rows = [
        f"(1, 0, 101, {row}, '{key(row)}', 1, 200, 1, 'request-1', '{FINGERPRINT.hex()}', {AT}, 1)"
        for row in range(ROWS)
    ]
    rows += [f"(1, 0, 101, {ROWS}, '{key(ROWS)}', 4, 400, 2, NULL, NULL, {AT}, 4)"]
    statements(
        url,
        "INSERT INTO labels (id, name) VALUES (101, 'user_update'), (102, 'page_views')",
        "INSERT INTO runs (id, dag_id, run_id, sync, attempt, run_day, window_days, started) "
        f"VALUES (1, 'page_views', 'manual__1', 'page_views', 0, '2026-01-13', 7, {AT})",
        f"INSERT INTO outcomes ({columns}) VALUES {', '.join(rows)}",
        f"INSERT INTO open_batches (sync, attempt_id, batch, opened, epoch) VALUES (102, 1, 0, {AT}, 1)",
    )
    return url


def kept(url: str) -> Iterator[Attempt]:
    """Open the ledger and see that it knows all of it."""
    with Ledger.open(url) as ledger:
        attempt = ledger.begin(ref())
        refused = Marked(key(ROWS), UPDATE, Outcome.REJECTED, "rejected", 400, 2, None, None, ROWS)
        delivered = [
            Marked(key(row), UPDATE, Outcome.DELIVERED, "delivered", 200, 1, "request-1", FINGERPRINT, row)
            for row in range(ROWS)
        ]
        assert attempt.outcomes(0) == sorted([refused, *delivered])
        assert query(url, "SELECT COUNT(*) FROM outcomes") == [(ROWS + 1,)]
        assert len(ledger.states("page_views", [key(row) for row in range(ROWS + 1)])) == ROWS
        yield attempt


def test_outcomes_of_an_older_ledger_are_kept(old_url: str) -> None:
    for _ in range(2):
        for attempt in kept(old_url):
            assert attempt.id == 1


def test_a_migration_cut_short_while_outcomes_are_brought_over_begins_again(old_url: str) -> None:
    with database(old_url) as opened:
        opened.write("begin", MARKS.create)
    statements(
        old_url,
        "INSERT INTO marks (attempt_id, batch, call_kind, outcome, code, tries, at, calls, marked_rows) "
        f"VALUES (1, 0, 101, 1, 1, 1, {AT}, 1, '[[0,\"{key(0)}\",null]]')",
    )
    for attempt in kept(old_url):
        assert len(attempt.confirmed(0)) == ROWS


def test_a_migration_cut_short_before_the_view_makes_the_view(old_url: str) -> None:
    Ledger.open(old_url).close()
    statements(old_url, "DROP VIEW outcomes", f"UPDATE {VERSION_TABLE} SET version_num = '0005'")
    for attempt in kept(old_url):
        assert len(attempt.confirmed(0)) == ROWS
