"""A private MariaDB or MySQL server in a folder of its own, never the system's."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from devstack import processes
from devstack.errors import DevstackError
from devstack.ports import HOST, free_port, port_is_free
from devstack.server_binaries import PORT_TAKEN, ServerBinary, explain, find_server

if TYPE_CHECKING:
    from MySQLdb.connections import Connection

DATABASE = "shop"
SOURCE_USER = "reverse_etl"
NEEDED_BYTES = 300 * 1024 * 1024
# unix(7): sun_path holds 108 bytes, the last one a zero.
LONGEST_SOCKET_PATH = 107
STARTS_WITHIN_SECONDS = 120.0
STOPS_WITHIN_SECONDS = 30.0


class PrivateServer:
    """A database server whose data, log, socket and passwords live in `folder`.

    It listens on 127.0.0.1 only, on `port` or, without one, on the port it had last time or a free one. It
    holds the database `shop`, an administrator reached over the socket, and the user `reverse_etl`, who may
    only read `shop`. A server that already runs on the folder is used and, on leaving the `with` block, left
    running. With `outlive` the server runs on when the process that started it has ended.

    Raises DevstackError, with what to do, when the program is missing, the port is taken, the disk is full,
    or the data belongs to another server version or user.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, outlive: bool = False, search_path: str | None = None
    ) -> None:
        self.folder = folder.absolute()
        self.port = port or 0
        self.started_here = False
        self._fixed_port = port
        self._outlive = outlive
        self._search_path = search_path
        self._socket = ""
        self._passwords: dict[str, str] = {}
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PrivateServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.started_here:
            self.stop()

    # --- Life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server, or join the one that already runs on the folder, and wait until it answers."""
        self._prepare_folder()
        running = processes.recall(self._record)
        if running is not None:
            process, facts = running
            self.port, self._socket = int(facts["port"]), str(facts["socket"])
            self._await_answer(process, log_from=0)
            return
        binary = find_server(self._search_path)
        self._check_data(binary)
        if not self._data.is_dir():
            self._initialise(binary)
        self._write_accounts()
        self._launch_on_some_port(binary)

    def stop(self) -> None:
        """End the server that runs on the folder, whoever started it; do nothing when none does."""
        running = processes.recall(self._record)
        if running is not None:
            process, facts = running
            processes.stop(process, patience=STOPS_WITHIN_SECONDS)
            self._remove_socket(Path(str(facts["socket"])))
        if self._child is not None:
            self._child.wait(STOPS_WITHIN_SECONDS)
            self._child = None
        self.started_here = False

    @property
    def is_running(self) -> bool:
        """Whether a server runs on the folder."""
        return processes.recall(self._record) is not None

    # --- Use ------------------------------------------------------------------------------------------------

    def airflow_connection(self) -> dict[str, object]:
        """Return the read-only user's connection in Airflow's JSON form."""
        return {
            "conn_type": "mysql",
            "host": HOST,
            "port": self.port,
            "login": SOURCE_USER,
            "password": self._password("source"),
            "schema": DATABASE,
            "extra": {"charset": "utf8mb4"},
        }

    def connect(self, database: str = DATABASE) -> Connection:
        """Return the administrator's connection: autocommit, UTC, several statements at once allowed."""
        import MySQLdb
        from MySQLdb.constants import CLIENT

        return MySQLdb.connect(
            unix_socket=self._socket,
            user="root",
            password=self._password("admin"),
            database=database,
            charset="utf8mb4",
            autocommit=True,
            client_flag=CLIENT.MULTI_STATEMENTS,
            init_command="SET time_zone = '+00:00'",
        )

    def connect_source(self) -> Connection:
        """Return a connection of the user who may only read."""
        import MySQLdb

        return MySQLdb.connect(
            host=HOST,
            port=self.port,
            user=SOURCE_USER,
            password=self._password("source"),
            database=DATABASE,
            charset="utf8mb4",
        )

    def load_sql(self, path: Path) -> None:
        """Run all statements of a file as the administrator.

        A failing statement raises DevstackError with the file and the statement's number; those before it
        have been carried out.
        """
        import MySQLdb

        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise DevstackError(f"Cannot read {path}: {error.strerror}.") from error
        number = 1
        connection = self.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(text)
            more = True
            while more:
                number += 1
                more = cursor.nextset() is not None
        except MySQLdb.Error as error:
            raise DevstackError(f"{path}, statement {number}: {error.args[-1]}") from error
        finally:
            connection.close()

    # --- Files ----------------------------------------------------------------------------------------------

    @property
    def log(self) -> Path:
        """The server's error log."""
        return self.folder / "server.log"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _scratch(self) -> Path:
        return self.folder / "tmp"

    @property
    def _record(self) -> Path:
        return self.folder / "server.json"

    @property
    def _origin(self) -> Path:
        return self.folder / "origin.json"

    @property
    def _accounts(self) -> Path:
        return self.folder / "accounts.sql"

    def _prepare_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._scratch.mkdir(exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise DevstackError(f"Cannot write in {self.folder}: {error.strerror}.") from error
        if free < NEEDED_BYTES:
            raise DevstackError(
                f"The disk is nearly full: {free // 1024**2} MB free for {self.folder}, "
                f"{NEEDED_BYTES // 1024**2} MB are needed. Free some space and try again."
            )

    def _password(self, account: str) -> str:
        if not self._passwords:
            path = self.folder / "passwords.json"
            if not path.exists():
                new = {name: secrets.token_urlsafe(24) for name in ("admin", "source")}
                processes.write_private(path, json.dumps(new))
            self._passwords = json.loads(path.read_text(encoding="utf-8"))
        return self._passwords[account]

    def _check_data(self, binary: ServerBinary) -> None:
        if not self._data.exists():
            return
        owner = self._data.stat().st_uid
        if owner != os.geteuid():
            raise DevstackError(
                f"{self._data} belongs to another user (uid {owner}, you are uid {os.geteuid()}). "
                f"Delete {self.folder} as that user; it is filled again from the SQL files."
            )
        try:
            made_by = json.loads(self._origin.read_text(encoding="utf-8"))
            same = made_by["flavour"] == binary.flavour and tuple(made_by["version"]) <= binary.version
        except (OSError, ValueError, KeyError):
            made_by, same = {"flavour": "an unknown server", "version": ["?"]}, False
        if not same:
            version = ".".join(str(part) for part in made_by["version"])
            raise DevstackError(
                f"{self._data} was made by {made_by['flavour']} {version}, the server found is {binary}. "
                f"Delete {self.folder}; it is filled again from the SQL files."
            )

    def _initialise(self, binary: ServerBinary) -> None:
        new = self.folder / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        # mariadb-install-db breaks on spaces in the path, hence the relative one.
        if binary.installer is not None:
            command = [str(binary.installer), "--no-defaults", "--datadir=./data.new", "--skip-test-db"]
            command += ["--auth-root-authentication-method=normal", "--skip-name-resolve"]
            command += ["--innodb-log-file-size=24M"]
        else:
            command = [str(binary.path), "--no-defaults", "--initialize-insecure", f"--datadir={new}"]
        # A server removes what other servers keep in a shared temporary folder when it starts.
        with tempfile.TemporaryDirectory(prefix="reverse-etl-") as scratch:
            answer = subprocess.run(
                [*command, *_as_this_user()],
                cwd=self.folder,
                env=os.environ | {"TMPDIR": scratch},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        if answer.returncode != 0:
            output = answer.stdout + answer.stderr
            with self.log.open("a", encoding="utf-8") as file:
                file.write(output)
            shutil.rmtree(new, ignore_errors=True)
            raise DevstackError(f"{binary} could not create its data folder. {explain(output)} (log: {self.log})")
        origin = {"flavour": binary.flavour, "version": binary.version}
        processes.write_private(self._origin, json.dumps(origin))
        new.rename(self._data)

    def _write_accounts(self) -> None:
        """Write what the server runs at each start, so that lost passwords mend themselves."""
        source = f"'{SOURCE_USER}'@'{HOST}'"
        statements = [
            f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;",
            f"CREATE USER IF NOT EXISTS {source} IDENTIFIED BY '{self._password('source')}';",
            f"ALTER USER {source} IDENTIFIED BY '{self._password('source')}';",
            f"GRANT SELECT ON {DATABASE}.* TO {source};",
            *(f"DROP USER IF EXISTS 'root'@'{host}';" for host in ("127.0.0.1", "::1")),
            f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self._password('admin')}';",
        ]
        processes.write_private(self._accounts, "\n".join(statements) + "\n")

    # --- Starting -------------------------------------------------------------------------------------------

    def _launch_on_some_port(self, binary: ServerBinary) -> None:
        """Launch; a port that was free when it was chosen may be taken by now, then try others."""
        for _ in range(3):
            try:
                return self._launch(binary)
            except DevstackError as error:
                if self._fixed_port is not None or PORT_TAKEN not in str(error):
                    raise
        return self._launch(binary)

    def _launch(self, binary: ServerBinary) -> None:
        self.port = self._choose_port()
        self._socket = self._choose_socket()
        log_from = self.log.stat().st_size if self.log.exists() else 0
        child = processes.launch(self._command(binary), log=self.log, cwd=self.folder, outlive=self._outlive)
        self._child = child
        process = processes.ProcessId.of(child.pid)
        if process is not None:
            processes.record(self._record, process, port=self.port, socket=self._socket)
        self.started_here = True
        try:
            self._await_answer(process, log_from)
        except BaseException:
            self.stop()
            self._remove_socket(Path(self._socket))
            raise

    def _command(self, binary: ServerBinary) -> list[str]:
        options = {
            "datadir": self._data,
            "tmpdir": self._scratch,
            "socket": self._socket,
            "pid-file": self.folder / "server.pid",
            "init-file": self._accounts,
            "bind-address": HOST,
            "port": self.port,
            "character-set-server": "utf8mb4",
            "default-time-zone": "+00:00",
            "innodb-buffer-pool-size": "64M",
            "performance-schema": "OFF",
        }
        if binary.flavour == "MariaDB":
            options |= {"innodb-log-file-size": "24M", "aria-pagecache-buffer-size": "8M"}
            # io_uring is forbidden in many containers.
            options["innodb-use-native-aio"] = 0
        else:
            options["mysqlx"] = "OFF"
        command = [str(binary.path), "--no-defaults", "--skip-name-resolve", "--skip-log-bin"]
        return [*command, *_as_this_user(), *(f"--{name}={value}" for name, value in options.items())]

    def _choose_port(self) -> int:
        if self._fixed_port is not None:
            if not port_is_free(self._fixed_port):
                raise DevstackError(
                    f"Port {self._fixed_port} on {HOST} is taken by another program. "
                    "Choose another port, or none to have a free one found."
                )
            return self._fixed_port
        try:
            last = int(json.loads(self._record.read_text(encoding="utf-8"))["facts"]["port"])
        except (OSError, ValueError, KeyError, TypeError):
            last = 0
        return last if last and port_is_free(last) else free_port()

    def _choose_socket(self) -> str:
        near = self.folder / "server.sock"
        if len(os.fsencode(near)) <= LONGEST_SOCKET_PATH:
            return str(near)
        return str(Path(tempfile.mkdtemp(prefix="private-server-")) / "server.sock")

    def _remove_socket(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        if path.parent != self.folder:
            shutil.rmtree(path.parent, ignore_errors=True)

    def _await_answer(self, process: processes.ProcessId | None, log_from: int) -> None:
        answered = processes.wait_until(lambda: self._answers() or not _runs(process), STARTS_WITHIN_SECONDS)
        if answered and _runs(process):
            return
        with self.log.open("rb") as file:
            file.seek(log_from)
            cause = explain(file.read().decode("utf-8", errors="replace"))
        trouble = "stopped while starting" if answered else f"did not answer within {STARTS_WITHIN_SECONDS:.0f} s"
        raise DevstackError(f"The private database server {trouble}. {cause} (log: {self.log})")

    def _answers(self) -> bool:
        import MySQLdb

        if not Path(self._socket).exists():
            return False
        try:
            self.connect().close()
        except MySQLdb.Error:
            return False
        return True


def _runs(process: processes.ProcessId | None) -> bool:
    return process is not None and process.is_running


def _as_this_user() -> list[str]:
    """Root must be named, or the server refuses to run as root; others may not name anybody."""
    return ["--user=root"] if os.geteuid() == 0 else []
