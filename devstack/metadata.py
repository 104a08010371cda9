"""How Airflow connects to its SQLite metadata database, where several processes write.

SQLite begins a transaction at its first savepoint. One that then reads, and writes after another process has written,
is refused at once, however long it might wait: "database is locked". Airflow creates the runs of a backfill so, one
savepoint for each. Here a savepoint that begins a transaction takes the lock for writing, for which it waits.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

TAKE_WRITE_LOCK = "PRAGMA user_version = 0"
"""Writes what is there already; SQLite has no statement that only locks."""

PAUSE_SECONDS = 0.01
"""After each such transaction, for those who wait: SQLite lets them look now and then, and has no queue."""


class SavepointCursor(sqlite3.Cursor):
    """A cursor whose savepoints take the lock for writing."""

    def execute(self, statement: str, parameters: Any = ()) -> SavepointCursor:  # noqa: ANN401 - as the base class has it
        """Execute the statement."""
        was_in_transaction = self.connection.in_transaction
        super().execute(statement, parameters)
        if statement.startswith("SAVEPOINT ") and not was_in_transaction:
            super().execute(TAKE_WRITE_LOCK)
        elif statement.startswith("RELEASE ") and not self.connection.in_transaction:
            time.sleep(PAUSE_SECONDS)
        return self


class MetadataConnection(sqlite3.Connection):
    """A connection with such cursors."""

    def cursor(self, factory: Any = SavepointCursor) -> Any:  # noqa: ANN401 - as the base class has it
        """Return a new cursor."""
        return super().cursor(factory)


CONNECT_ARGS = {"factory": MetadataConnection}
"""For Airflow's setting `sql_alchemy_connect_args`."""
