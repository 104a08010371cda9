"""A ledger to look into: the one that the environment names, or one that a demonstration has just written."""

from __future__ import annotations

import atexit
import os
import tempfile
from pathlib import Path
from typing import Any

from reverse_etl.errors import ConfigurationError
from reverse_etl.notebooks.tables import print_table

PATIENCE_SECONDS = 10


class LedgerView:
    """Answers SQL about a ledger; `is_demo` is true where the runs in it were made up."""

    def __init__(self, url: str, *, is_demo: bool = False) -> None:
        from reverse_etl.ledger.database import Database

        self._database = Database(url, patience=PATIENCE_SECONDS)
        self.is_demo = is_demo

    def __repr__(self) -> str:
        return "the ledger of three demonstration runs" if self.is_demo else self._database.place

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a SELECT; raise LedgerUnavailable or ConfigurationError."""
        from sqlalchemy import text

        return self._database.read(
            "answer", lambda connection: [dict(row) for row in connection.execute(text(sql)).mappings()]
        )

    def show(self, sql: str) -> None:
        """Print the rows of a SELECT."""
        print_table("rows", (), self.query(sql))

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


def open_ledger() -> LedgerView:
    """Return the ledger REVERSE_ETL_LEDGER names, a SQLite file or a URL; without it that of three demonstration runs.

    Raise ConfigurationError when the file does not exist.
    """
    named = os.environ.get("REVERSE_ETL_LEDGER", "").strip()
    if not named:
        from reverse_etl.notebooks.demo import write_demo

        folder = tempfile.TemporaryDirectory(prefix="reverse-etl-")
        atexit.register(folder.cleanup)
        url = f"sqlite:///{folder.name}/ledger.db"
        write_demo(url)
        return LedgerView(url, is_demo=True)
    if "://" in named:
        return LedgerView(named)
    file = Path(named).absolute()
    if not file.is_file():
        raise ConfigurationError(f"REVERSE_ETL_LEDGER names {file}, which does not exist; make run writes a ledger")
    return LedgerView(f"sqlite:///{file}")
