"""A fresh ledger database of each kind; MySQL (here MariaDB) and PostgreSQL are private servers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.database import PrivateServer
from devstack.errors import DevstackError
from devstack.postgres import PrivatePostgres
from reverse_etl.ledger.ledger import Ledger
from tests.database import run
from tests.ledger.samples import Clock

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


@pytest.fixture(params=["sqlite", *SERVERS])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database, of each kind."""
    make: Callable[[], Iterator[str]] = request.getfixturevalue(f"{request.param}_urls")
    yield from make()


@pytest.fixture(params=SERVERS)
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database on each kind of server."""
    make: Callable[[], Iterator[str]] = request.getfixturevalue(f"{request.param}_urls")
    yield from make()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def sqlite_urls(sqlite_url: str) -> Callable[[], Iterator[str]]:
    return lambda: iter([sqlite_url])


@pytest.fixture
def mysql_urls(request: pytest.FixtureRequest) -> Callable[[], Iterator[str]]:
    server: PrivateServer = request.getfixturevalue("server")
    name = f"ledger_{uuid.uuid4().hex[:16]}"

    def make() -> Iterator[str]:
        def connect() -> Any:
            return server.connect("mysql")

        # Not the character set of the tables: they must bring their own.
        run(connect, f"CREATE DATABASE {name} CHARACTER SET latin1")
        run(connect, f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
        run(connect, f"GRANT ALL ON {name}.* TO {name}@'127.0.0.1'")
        yield f"mysql://{name}:{PASSWORD}@127.0.0.1:{server.port}/{name}"
        run(connect, f"DROP DATABASE {name}", f"DROP USER {name}@'127.0.0.1'")

    return make


@pytest.fixture
def postgresql_urls(request: pytest.FixtureRequest) -> Callable[[], Iterator[str]]:
    server: PrivatePostgres = request.getfixturevalue("postgres")
    name = f"ledger_{uuid.uuid4().hex[:16]}"

    def make() -> Iterator[str]:
        run(server.connect, f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'", f"CREATE DATABASE {name} OWNER {name}")
        yield f"postgresql://{name}:{PASSWORD}@127.0.0.1:{server.port}/{name}"
        run(server.connect, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}")

    return make


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
