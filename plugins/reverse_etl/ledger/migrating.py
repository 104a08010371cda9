"""Bringing the tables to the version the code works with, once, whoever opens the ledger first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table, text

from reverse_etl.errors import ConfigurationError, LedgerUnavailable, NoLedger
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.schema import HEAD, METADATA, VERSION_TABLE

SCRIPTS = Path(__file__).parent / "migrations"

_ALEMBIC = threading.Lock()
"""Alembic keeps what it works on in module variables."""


def migrate(database: Database, *, patience: float, create: bool = True) -> None:
    """Create or upgrade the tables; openers in other processes wait meanwhile, at most `patience` seconds.

    Raises ConfigurationError when the tables are newer than this code or not ours at all, NoLedger without
    `create` when there are none.
    """
    present = database.read("be opened", current_version)
    if present == HEAD:
        return
    if present is None and not create:
        raise NoLedger(database.place)
    with _ALEMBIC:
        database.write("be migrated", lambda connection: _upgrade(connection, database, patience))


def current_version(connection: Connection) -> str | None:
    """Return the version of the tables, None when there are none or a first migration was cut short."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))


def _upgrade(connection: Connection, database: Database, patience: float) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    with _only_one(connection, database, patience):
        config = Config()
        # Alembic reads % as the beginning of a variable.
        config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        present = current_version(connection)
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if present is not None and present not in known:
            raise ConfigurationError(
                f"the ledger at {database.place} has version {present} of the tables, newer than this code, "
                f"which knows {HEAD}; upgrade the package on this machine, or use another ledger"
            )
        _check_columns(connection, database.place, complete=False)
        command.upgrade(config, HEAD)
        _check_columns(connection, database.place, complete=True)


@contextmanager
def _only_one(connection: Connection, database: Database, patience: float) -> Iterator[None]:
    """Keep other openers of the same database out; SQLite's transaction does so by itself."""
    if database.kind == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('reverse_etl ledger'))"))
    if database.kind != "mysql":
        yield
        return
    # Names of locks hold for the whole server and have 64 characters at most.
    name = connection.scalar(text("SELECT CONCAT('reverse_etl-', MD5(DATABASE()))"))
    seconds = max(1, int(patience))
    if connection.scalar(text("SELECT GET_LOCK(:name, :seconds)"), {"name": name, "seconds": seconds}) != 1:
        raise LedgerUnavailable(
            f"the ledger at {database.place} is being migrated by another process for more than {seconds} s; "
            "run the task again"
        )
    try:
        yield
    finally:
        connection.execute(text("DO RELEASE_LOCK(:name)"), {"name": name})


def _check_columns(connection: Connection, place: str, *, complete: bool) -> None:
    """Refuse a database where somebody else's table has one of our names.

    Unless they must be `complete`, tables may be missing, or have more or fewer of our columns, as other versions do.
    """
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    for ours in METADATA.sorted_tables:
        wanted = set(ours.columns.keys())
        found = {column["name"] for column in inspector.get_columns(ours.name)} if ours.name in present else set()
        if found != wanted if complete else not (found <= wanted or found >= wanted):
            raise ConfigurationError(
                f"the database {place} has a table {ours.name} that is not the ledger's; "
                "give the ledger a database of its own"
            )
