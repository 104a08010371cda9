"""A ledger database of each kind for each test; MySQL (here MariaDB) and PostgreSQL are private servers.

A test that opens the ledger itself gets an empty database. One that is given the ledger gets a database with the
tables and no rows, on a server the same one as the tests before it: making the tables takes a server half a second.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from devstack.database import PrivateServer
from devstack.errors import DevstackError
from devstack.postgres import PrivatePostgres
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.schema import METADATA, OUTCOME_NUMBERS
from tests.database import run
from tests.ledger.samples import Clock, statements

SERVERS = [
    pytest.param("mysql", marks=pytest.mark.integration),
    pytest.param("postgresql", marks=pytest.mark.integration),
]

PASSWORD = "hunter2-of-the-ledger"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    try:
        server = PrivatePostgres()
    except DevstackError as reason:
        pytest.skip(str(reason).splitlines()[0])
    with server:
        yield server


def url_of(kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    if kind == "sqlite":
        yield request.getfixturevalue("sqlite_url")
    elif "ledger" in request.fixturenames:
        prepared: str = request.getfixturevalue(f"{kind}_with_tables")
        remove_rows(prepared)
        yield prepared
    else:
        with EMPTY[kind](request.getfixturevalue(SERVER_FIXTURES[kind])) as empty:
            yield empty


@pytest.fixture(params=["sqlite", *SERVERS])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database of each kind."""
    yield from url_of(request.param, request)


@pytest.fixture(params=SERVERS)
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database on each kind of server."""
    yield from url_of(request.param, request)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@contextmanager
def empty_mysql(server: PrivateServer) -> Iterator[str]:
    name = f"ledger_{uuid.uuid4().hex[:16]}"

    def connect() -> Any:
        return server.connect("mysql")

    # Not the character set of the tables: they must bring their own.
    run(connect, f"CREATE DATABASE {name} CHARACTER SET latin1")
    run(connect, f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    run(connect, f"GRANT ALL ON {name}.* TO {name}@'127.0.0.1'")
    yield f"mysql://{name}:{PASSWORD}@127.0.0.1:{server.port}/{name}"
    run(connect, f"DROP DATABASE {name}", f"DROP USER {name}@'127.0.0.1'")


@contextmanager
def empty_postgresql(server: PrivatePostgres) -> Iterator[str]:
    name = f"ledger_{uuid.uuid4().hex[:16]}"
    run(server.connect, f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'", f"CREATE DATABASE {name} OWNER {name}")
    yield f"postgresql://{name}:{PASSWORD}@127.0.0.1:{server.port}/{name}"
    run(server.connect, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}")


EMPTY: dict[str, Callable[[Any], AbstractContextManager[str]]] = {
    "mysql": empty_mysql,
    "postgresql": empty_postgresql,
}
SERVER_FIXTURES = {"mysql": "server", "postgresql": "postgres"}


@pytest.fixture(scope="session")
def mysql_with_tables(server: PrivateServer) -> Iterator[str]:
    with empty_mysql(server) as url:
        Ledger.open(url).close()
        yield url


@pytest.fixture(scope="session")
def postgresql_with_tables(postgres: PrivatePostgres) -> Iterator[str]:
    with empty_postgresql(postgres) as url:
        Ledger.open(url).close()
        yield url


def remove_rows(url: str) -> None:
    """Leave of a server's ledger what the migrations made; numbers begin again, but for those of new labels."""
    tables = [table.name for table in METADATA.sorted_tables if table.name != "labels"]
    labels = f"DELETE FROM labels WHERE id > {max(OUTCOME_NUMBERS.values())}"
    if url.startswith("postgresql"):
        statements(url, f"TRUNCATE {', '.join(tables)} RESTART IDENTITY", labels)
    else:
        statements(url, "SET lock_wait_timeout = 30", *(f"TRUNCATE {table}" for table in tables), labels)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger.open(url, clock=clock) as opened:
        yield opened


@pytest.fixture
def sqlite_ledger(sqlite_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger.open(sqlite_url, clock=clock) as opened:
        yield opened


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start servers and processes in make test only, not in make check."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.integration)
