from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devstack import processes
from devstack.errors import DevstackError
from devstack.ports import port_is_free
from devstack.postgres import PrivatePostgres, find_programs


def test_a_machine_without_postgresql_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(DevstackError, match="apt-get install .* postgresql"):
        PrivatePostgres(str(tmp_path))


@pytest.mark.parametrize("lacking", ["initdb", "postgres"])
def test_half_an_installation_is_none(tmp_path: Path, lacking: str) -> None:
    for name in {"initdb", "postgres"} - {lacking}:
        (tmp_path / name).touch()
    with pytest.raises(DevstackError, match="No PostgreSQL server programs"):
        find_programs(str(tmp_path))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder the user the server runs as may look into, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("name", ["initdb", "postgres"])
def test_a_program_that_fails_is_quoted_and_leaves_nothing(open_folder: Path, name: str) -> None:
    for program in ("initdb", "postgres"):
        script = open_folder / program
        script.write_text(f"#!/bin/sh\necho out of luck >&2\nexit {int(program == name)}\n")
        script.chmod(0o755)
    server = PrivatePostgres(str(open_folder))
    with pytest.raises(DevstackError, match="Its last words: out of luck"):
        server.__enter__()
    assert not server.is_running


@pytest.mark.integration
def test_the_server_answers_its_user_alone_and_is_gone_afterwards() -> None:
    try:
        server = PrivatePostgres()
    except DevstackError as reason:
        pytest.skip(str(reason).splitlines()[0])
    with server:
        with server.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url(password="wrong"))
    assert not server.is_running
    assert processes.wait_until(lambda: port_is_free(server.port), 5)
