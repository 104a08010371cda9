"""Per test, a database with the example's schema and rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.database import PrivateServer
from tests.database import Connect, own_database
from tests.sql.files import SQL, load


@pytest.fixture
def shop(server: PrivateServer) -> Iterator[Connect]:
    with own_database(server) as connect:
        load(connect, SQL / "schema.sql")
        load(connect, SQL / "seed.sql")
        yield connect
