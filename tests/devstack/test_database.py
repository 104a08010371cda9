from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import MySQLdb
import pytest

from devstack import processes
from devstack.database import LONGEST_SOCKET_PATH, PrivateServer
from devstack.errors import DevstackError

FACE = "\N{GRINNING FACE}"

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "data base"
    yield path
    PrivateServer(path).stop()


def rows(server: PrivateServer, statement: str) -> list[tuple[object, ...]]:
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def load(server: PrivateServer, folder: Path, text: str) -> None:
    path = folder / "script.sql"
    path.write_text(text, encoding="utf-8")
    server.load_sql(path)


def server_process(folder: Path) -> processes.ProcessId:
    running = processes.recall(folder / "server.json")
    assert running is not None
    return running[0]


def test_keeps_its_data_and_its_port_over_a_restart(folder: Path) -> None:
    with PrivateServer(folder) as server:
        port = server.port
        load(
            server,
            folder,
            "CREATE TABLE t (a VARCHAR(9)); INSERT INTO t VALUES ('100 %'), ('\N{GRINNING FACE}');\n-- end\n",
        )
    assert not server.is_running
    with PrivateServer(folder) as server:
        assert rows(server, "SELECT a FROM t ORDER BY a") == [("100 %",), (FACE,)]
        assert server.port == port


def test_recovers_after_a_crash(folder: Path) -> None:
    with PrivateServer(folder) as server:
        load(server, folder, "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1)")
        os.kill(server_process(folder).pid, signal.SIGKILL)
        assert processes.wait_until(lambda: not server.is_running, 10)
    with PrivateServer(folder) as server:
        assert rows(server, "SELECT a FROM t") == [(1,)]


def test_joins_a_server_that_already_runs_and_leaves_it_running(folder: Path) -> None:
    with PrivateServer(folder) as first:
        with PrivateServer(folder) as second:
            assert not second.started_here
            assert second.port == first.port
            assert rows(second, "SELECT 1") == [(1,)]
        assert first.is_running
        assert rows(first, "SELECT 1") == [(1,)]


def test_the_source_user_can_read_and_nothing_else(folder: Path) -> None:
    with PrivateServer(folder) as server:
        load(server, folder, "CREATE TABLE t (a INT); INSERT INTO t VALUES (7)")
        with closing(server.connect_source()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT a FROM t")
            assert cursor.fetchall() == ((7,),)
            for statement in ("INSERT INTO t VALUES (8)", "DROP TABLE t", "SELECT user FROM mysql.user"):
                with pytest.raises(MySQLdb.OperationalError, match="denied"):
                    cursor.execute(statement)
        assert server.airflow_connection()["login"] == "reverse_etl"


def test_nobody_enters_over_tcp_without_a_password(folder: Path) -> None:
    with PrivateServer(folder) as server:
        for user in ("root", "reverse_etl", ""):
            with pytest.raises(MySQLdb.OperationalError, match="denied"):
                MySQLdb.connect(host="127.0.0.1", port=server.port, user=user)
    for name in ("passwords.json", "accounts.sql"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_a_lost_password_file_is_made_anew(folder: Path) -> None:
    with PrivateServer(folder):
        pass
    (folder / "passwords.json").unlink()
    with PrivateServer(folder) as server:
        assert rows(server, "SELECT 1") == [(1,)]
        server.connect_source().close()


@pytest.mark.parametrize(
    ("text", "number"),
    [("BOO", 1), ("SELECT 1; SELECT ';'; SELECT * FROM missing; SELECT 2", 3), ("SELECT 1;\nINSERT", 2)],
)
def test_a_failing_statement_is_named_by_file_and_number(folder: Path, text: str, number: int) -> None:
    with PrivateServer(folder) as server, pytest.raises(DevstackError, match=rf"script\.sql, statement {number}: "):
        load(server, folder, text)


def test_a_missing_sql_file_is_named(folder: Path) -> None:
    with pytest.raises(DevstackError, match=r"Cannot read .*seed\.sql: No such file"):
        PrivateServer(folder).load_sql(folder / "seed.sql")


def test_a_taken_port_is_refused_before_anything_starts(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(DevstackError, match=f"Port {port} on 127.0.0.1 is taken"):
            PrivateServer(folder, port=port).start()


def test_works_below_a_path_longer_than_a_socket_may_have(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    assert len(os.fsencode(folder)) > LONGEST_SOCKET_PATH
    with PrivateServer(folder) as server:
        assert rows(server, "SELECT 1") == [(1,)]
        socket_path = Path(str(rows(server, "SELECT @@socket")[0][0]))
        assert socket_path.exists()
    assert not socket_path.parent.exists()


def test_data_of_another_server_is_refused(folder: Path) -> None:
    with PrivateServer(folder):
        pass
    (folder / "origin.json").write_text('{"flavour": "MySQL", "version": [8, 4]}')
    with pytest.raises(DevstackError, match=r"was made by MySQL 8\.4, the server found is MariaDB"):
        PrivateServer(folder).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_data_of_another_user_is_refused(folder: Path) -> None:
    with PrivateServer(folder):
        pass
    os.chown(folder / "data", 65534, 65534)
    with pytest.raises(DevstackError, match=r"belongs to another user \(uid 65534"):
        PrivateServer(folder).start()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing_running(folder: Path) -> None:
    with PrivateServer(folder):
        pass
    (folder / "data" / "ibdata1").write_bytes(b"garbage" * 1000)
    server = PrivateServer(folder)
    with pytest.raises(DevstackError, match=r"stopped while starting\..*log: .*server\.log"):
        server.start()
    assert not server.is_running


def test_an_interrupted_initialisation_is_done_again(folder: Path) -> None:
    (folder / "data.new").mkdir(parents=True)
    (folder / "data.new" / "ibdata1").write_bytes(b"half")
    with PrivateServer(folder) as server:
        assert rows(server, "SELECT 1") == [(1,)]


def test_the_server_ends_with_the_process_that_started_it(folder: Path) -> None:
    script = (
        "import os, signal; from pathlib import Path; from devstack.database import PrivateServer\n"
        f"PrivateServer(Path({str(folder)!r})).start(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (folder / "server.json").exists()
    assert processes.wait_until(lambda: not PrivateServer(folder).is_running, 20)
