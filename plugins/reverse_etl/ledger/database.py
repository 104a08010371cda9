"""The connection to the ledger's database: three kinds of it, one way to run a transaction."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Dialect, Engine, Row, Select, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from reverse_etl.errors import ConfigurationError, NoLedger
from reverse_etl.ledger.problems import may_repeat, translated
from reverse_etl.ledger.times import MICROSECONDS

Result = TypeVar("Result")

TRIES = 5
"""Runs of a transaction that keeps losing against others."""

CONNECTS_WITHIN_SECONDS = 10
ANSWERS_WITHIN_SECONDS = 120

SQLITE_CACHE_KIB = 16 * 1024
MILLISECONDS_BETWEEN_LOOKS = 3
SQLITE_PAGES_BETWEEN_CHECKPOINTS = 64_000
"""Up to 256 MB of write-ahead log: row states change all over their table, and a page counts once a checkpoint.

Measured with 800,000 rows of two calls: 1.3 times the marks/s of 16,000 pages; a larger cache was slower.
"""

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "mysql": "mysql+mysqldb",
    "mariadb": "mysql+mysqldb",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}

_CLOCKS = {
    "mysql": "SELECT TIMESTAMPDIFF(MICROSECOND, DATE'1970-01-01', UTC_TIMESTAMP(6))",
    "postgresql": "SELECT CAST(EXTRACT(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
}


class Database:
    """An engine with its settings; `kind` is sqlite, mysql (also MariaDB) or postgresql.

    `place` names it in messages, without user and password. `patience` are the seconds to wait for a lock. Without
    `create` a SQLite file that is not there is refused with NoLedger.
    May be used by several threads, but not across a fork: open it in the process that works with it.
    """

    def __init__(self, url: str, *, patience: float, create: bool = True) -> None:
        address = _parsed(url)
        self.kind = address.get_backend_name()
        self.place = _place(address)
        if self.kind == "sqlite":
            file = Path(address.database or "")
            if not create and not file.exists():
                raise NoLedger(self.place)
            _create_folder(file)
        self._engine = create_engine(
            address, hide_parameters=True, pool_size=5, max_overflow=20, **_engine_options(self.kind, patience)
        )
        _prepare_connections(self._engine, self.kind, patience)

    @property
    def dialect(self) -> Dialect:
        """SQLAlchemy's dialect."""
        return self._engine.dialect

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def read(self, doing: str, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction that writes nothing and return its result."""
        return self._run(doing, work, writes=False)

    def fetch(self, doing: str, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
        """Return all rows of a query."""
        return self.read(doing, lambda connection: connection.execute(query).all())

    def write(self, doing: str, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction, again when it lost against another one, and return its result.

        A connection may break between commit and its confirmation, so `work` must be safe to repeat.
        Raises LedgerUnavailable or ConfigurationError, saying that the ledger could not do what `doing` says.
        """
        return self._run(doing, work, writes=True)

    def microseconds(self, connection: Connection) -> int:
        """Return the present moment by the clock all users of this database share."""
        clock = _CLOCKS.get(self.kind)
        return int(time.time() * MICROSECONDS) if clock is None else int(connection.execute(text(clock)).scalar_one())

    def _run(self, doing: str, work: Callable[[Connection], Result], *, writes: bool) -> Result:
        for turn in range(1, TRIES + 1):
            try:
                with self._transaction(writes=writes) as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                gives_up = turn == TRIES or not may_repeat(error)
                problem = translated(error, self.place, doing)
            if gives_up:
                # Here, so that the driver's error with its values does not even hang on as the context.
                raise problem
            time.sleep(random.uniform(0.5, 1.5) * 0.01 * 2**turn)  # noqa: S311 - spreads rivals, guards nothing
        raise AssertionError("the last turn returns or raises")

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        with self._engine.connect().execution_options(ledger_writes=writes) as connection, connection.begin():
            yield connection


def _parsed(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "the ledger's URL cannot be read; expected one such as sqlite:////data/ledger.db, "
            "mysql://user:password@host/ledger or postgresql://user:password@host/ledger"
        ) from None
    kind = address.drivername.partition("+")[0]
    if kind not in _DRIVERS:
        raise ConfigurationError(f"the ledger's URL begins with {kind}, expected one of {', '.join(sorted(_DRIVERS))}")
    if not address.database:
        raise ConfigurationError(f"the ledger's URL ({kind}) names no database or, for SQLite, no file")
    if kind == "sqlite" and not Path(address.database).is_absolute():
        raise ConfigurationError(
            "the ledger's SQLite file must have an absolute path, such as sqlite:////data/ledger.db with four slashes: "
            "tasks run in different folders"
        )
    address = address.set(drivername=_DRIVERS[kind])
    return address.update_query_dict({"charset": "utf8mb4"}) if address.get_backend_name() == "mysql" else address


def _place(address: URL) -> str:
    if address.get_backend_name() == "sqlite":
        return str(address.database)
    port = f":{address.port}" if address.port else ""
    return f"{address.get_backend_name()} {address.host or 'localhost'}{port}/{address.database}"


def _create_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {file.parent} of the ledger cannot be made ({error.strerror}); choose another path"
        ) from None


def _engine_options(kind: str, patience: float) -> dict[str, Any]:
    if kind == "sqlite":
        # The driver's own handling of transactions begins them too late and too weakly.
        return {"connect_args": {"timeout": patience, "isolation_level": None}}
    options: dict[str, Any] = {"isolation_level": "READ COMMITTED", "pool_recycle": 1800}
    if kind == "mysql":
        answers = max(ANSWERS_WITHIN_SECONDS, int(patience) + 1)
        options["connect_args"] = {
            "connect_timeout": CONNECTS_WITHIN_SECONDS,
            "read_timeout": answers,
            "write_timeout": answers,
        }
    else:
        options["connect_args"] = {
            "connect_timeout": CONNECTS_WITHIN_SECONDS,
            "tcp_user_timeout": ANSWERS_WITHIN_SECONDS * 1000,
        }
    return options


def _prepare_connections(engine: Engine, kind: str, patience: float) -> None:
    milliseconds, seconds = int(patience * 1000), max(1, int(patience))
    settings = {
        "sqlite": (
            f"PRAGMA busy_timeout = {milliseconds}",
            "PRAGMA synchronous = NORMAL",
            f"PRAGMA cache_size = -{SQLITE_CACHE_KIB}",
            f"PRAGMA wal_autocheckpoint = {SQLITE_PAGES_BETWEEN_CHECKPOINTS}",
        ),
        "mysql": (f"SET innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}",),
        "postgresql": (f"SET lock_timeout = {milliseconds}",),
    }[kind]

    @event.listens_for(engine, "connect")
    def prepare(raw: DBAPIConnection, _record: object) -> None:
        cursor = raw.cursor()
        for setting in settings:
            cursor.execute(setting)
        if kind == "sqlite":
            _use_write_ahead_log(cursor, patience)
        cursor.close()
        if kind == "postgresql":
            raw.commit()

    if kind == "sqlite":

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A transaction that writes takes the lock at once: one that has read first cannot wait for it.
            if connection.get_execution_options().get("ledger_writes"):
                _begin_to_write(connection, patience)
            else:
                _wait_in_sqlite(connection, milliseconds)
                connection.exec_driver_sql("BEGIN")


def _begin_to_write(connection: Connection, patience: float) -> None:
    """Take SQLite's one lock, looking every few milliseconds: SQLite itself would soon look ten times a second only."""
    end = time.monotonic() + patience
    _wait_in_sqlite(connection, MILLISECONDS_BETWEEN_LOOKS)
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorname", "") != "SQLITE_BUSY" or time.monotonic() >= end:
                raise
        else:
            return


def _wait_in_sqlite(connection: Connection, milliseconds: int) -> None:
    """Set how long SQLite itself waits for a lock, unless the connection has it so from its last transaction."""
    if connection.info.get("busy_timeout") != milliseconds:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds}")
        connection.info["busy_timeout"] = milliseconds


def _use_write_ahead_log(cursor: DBAPICursor, patience: float) -> None:
    """Switch a new file over; SQLite heeds no busy_timeout here, so several who do it at once fail at once."""
    end = time.monotonic() + patience
    while True:
        try:
            cursor.execute("PRAGMA journal_mode")
            if cursor.fetchone() != ("wal",):
                cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() >= end:
                raise
        else:
            return
        time.sleep(random.uniform(0.002, 0.02))  # noqa: S311 - spreads rivals, guards nothing
