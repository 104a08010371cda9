from __future__ import annotations

from pathlib import Path

import pytest

from devstack.database import PrivateServer
from devstack.errors import DevstackError
from devstack.server_binaries import explain, find_server


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("[ERROR] InnoDB: Error number 28 means 'No space left on device'", "disk is full"),
        ("mariadbd: Disk full (/x/#sql.MAI); waiting for someone to free some space", "disk is full"),
        ("[ERROR] Can't start server: Bind on TCP/IP port. Got error: 98: Address already in use", "port"),
        ("[ERROR] mariadbd: Can't lock aria control file '/x' for exclusive use, error: 11", "already running"),
        ("[ERROR] InnoDB: Unable to lock ./ibdata1 error: 11", "already running"),
        ("[ERROR] InnoDB: Unsupported redo log format. The redo log was created with 11.4", "another version"),
        ("[ERROR] InnoDB: Operating system error number 13 in a file operation.", "AppArmor"),
        ("[Note] fine\n[ERROR] something new\n[Note] bye", "something new"),
        ("", "wrote nothing"),
    ],
)
def test_says_in_plain_words_what_the_server_log_says(log: str, words: str) -> None:
    assert words in explain(log)


def test_a_missing_server_program_names_the_packages(tmp_path: Path) -> None:
    with pytest.raises(DevstackError, match="apt-get install .*mariadb-server-core"):
        PrivateServer(tmp_path / "db", search_path=str(tmp_path)).start()


def test_a_program_that_is_no_server_is_refused(tmp_path: Path) -> None:
    impostor = tmp_path / "mariadbd"
    impostor.write_text("#!/bin/sh\necho hello\n")
    impostor.chmod(0o755)
    with pytest.raises(DevstackError, match="did not answer as a MariaDB or MySQL server"):
        find_server(str(tmp_path))


def test_a_mysql_server_is_told_from_a_mariadb_one(tmp_path: Path) -> None:
    server = tmp_path / "mysqld"
    server.write_text("#!/bin/sh\necho '/x/mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)'\n")
    server.chmod(0o755)
    found = find_server(str(tmp_path))
    assert str(found) == "MySQL 8.4"
    assert found.installer is None
