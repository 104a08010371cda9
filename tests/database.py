"""Databases of their own for tests, on a private server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from devstack.database import PrivateServer

Connect = Callable[[], Any]


@contextmanager
def own_database(server: PrivateServer) -> Iterator[Connect]:
    """Create a database and give a function that connects to it as the administrator; drop it at the end."""
    name = f"test_{uuid.uuid4().hex}"
    run(lambda: server.connect("mysql"), f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        yield lambda: server.connect(name)
    finally:
        run(lambda: server.connect("mysql"), f"DROP DATABASE {name}")


def run(connect: Connect, *statements: str) -> None:
    """Run statements one by one on a connection of their own."""
    with closing(connect()) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
