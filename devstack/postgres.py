"""A private PostgreSQL server for one test session, in a temporary folder of its own."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from devstack import processes
from devstack.errors import DevstackError
from devstack.ports import HOST, free_port

if TYPE_CHECKING:
    from psycopg import Connection

USER = "ledger"
STARTS_WITHIN_SECONDS = 60.0
STOPS_WITHIN_SECONDS = 20.0
FALLBACK_USERS = ("postgres", "nobody")
"""Who runs the server when this is root, as whom PostgreSQL refuses to run."""


class PrivatePostgres:
    """A PostgreSQL server that listens on a free port of 127.0.0.1 and is gone, with its data, after the `with` block.

    Nothing in it is worth keeping, so it never waits for the disk. Raises DevstackError, with what to do, when the
    programs are missing or do not start.
    """

    def __init__(self, search_path: str | None = None) -> None:
        self._programs = find_programs(search_path)
        self._password = secrets.token_urlsafe(24)
        self._account = _unprivileged()
        self._folder = Path()
        self._child: subprocess.Popen[bytes] | None = None
        self._process: processes.ProcessId | None = None
        self.port = 0

    def __enter__(self) -> PrivatePostgres:
        self._folder = Path(tempfile.mkdtemp(prefix="reverse-etl-postgres-"))
        try:
            self._initialise()
            self._launch()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            if self._process.is_running:
                # SIGTERM would wait for the clients to leave.
                os.kill(self._process.pid, signal.SIGINT)
            processes.wait_until(lambda: not self.is_running, STOPS_WITHIN_SECONDS)
            processes.stop(self._process)
        if self._child is not None:
            self._child.wait(STOPS_WITHIN_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def is_running(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.is_running

    def url(self, database: str = "postgres", *, password: str | None = None) -> str:
        """Return the administrator's URL of a database (it holds the password)."""
        return f"postgresql://{USER}:{quote(password or self._password)}@{HOST}:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> Connection[tuple[Any, ...]]:
        """Return the administrator's connection, in autocommit mode."""
        import psycopg

        return psycopg.connect(self.url(database), autocommit=True)

    def _initialise(self) -> None:
        password = self._folder / "password"
        processes.write_private(password, self._password)
        if self._account is not None:
            for path in (self._folder, password):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)
        command = [str(self._programs / "initdb"), "--pgdata", str(self._folder / "data"), "--username", USER]
        command += ["--pwfile", str(password), "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]
        answer = subprocess.run(
            [*self._as_user(), *command, "--no-sync"],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if answer.returncode != 0:
            words = (answer.stderr.strip().splitlines() or ["nothing"])[-1]
            raise DevstackError(f"PostgreSQL could not create its data folder. Its last words: {words}")

    def _launch(self) -> None:
        self.port = free_port()
        settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "60",
        }
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        # The kernel forgets the death signal when the user changes, so it is set after that.
        until_parent_dies = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
        log = self._folder / "server.log"
        self._child = processes.launch(
            [*self._as_user(), *until_parent_dies, *command], log=log, cwd=self._folder, outlive=True
        )
        self._process = processes.ProcessId.of(self._child.pid)
        answered = processes.wait_until(lambda: self._answers() or not self.is_running, STARTS_WITHIN_SECONDS)
        if not answered or not self.is_running:
            words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"]
            raise DevstackError(f"The private PostgreSQL server did not start. Its last words: {words[-1]}")

    def _answers(self) -> bool:
        import psycopg

        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _as_user(self) -> list[str]:
        if self._account is None:
            return []
        return ["setpriv", f"--reuid={self._account.pw_uid}", f"--regid={self._account.pw_gid}", "--clear-groups"]


def find_programs(search_path: str | None = None) -> Path:
    """Return the folder of initdb and postgres, the newest version's; raise DevstackError when there is none."""
    path = os.environ.get("PATH", "") if search_path is None else search_path
    # Debian keeps them off the PATH, a folder for each version.
    packaged = [] if search_path is not None else sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version)
    folders = [*reversed(packaged), *(Path(folder) for folder in path.split(os.pathsep) if folder)]
    for folder in folders:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    raise DevstackError(
        "No PostgreSQL server programs (initdb, postgres) were found. On Debian and Ubuntu:\n"
        "  sudo apt-get install --no-install-recommends postgresql"
    )


def _version(folder: Path) -> int:
    digits = re.match(r"\d+", folder.parent.name)
    return int(digits[0]) if digits else 0


def _unprivileged() -> pwd.struct_passwd | None:
    """Return the account to run as when this is root, None when this is somebody else."""
    if os.geteuid() != 0:
        return None
    known = {account.pw_name: account for account in pwd.getpwall()}
    for name in FALLBACK_USERS:
        if name in known:
            return known[name]
    raise DevstackError(f"PostgreSQL refuses to run as root, and there is no user {' or '.join(FALLBACK_USERS)}.")
