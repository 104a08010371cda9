"""Find the MariaDB or MySQL server on this machine and read its error log."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from devstack.errors import DevstackError

# Debian puts servers in /usr/sbin, which is not on every user's PATH; Red Hat puts them in /usr/libexec.
SERVER_FOLDERS = ("/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/bin", "/usr/local/mysql/bin")


@dataclass(frozen=True)
class ServerBinary:
    """The server program: `flavour` is "MariaDB" or "MySQL", `version` for instance (10, 11)."""

    path: Path
    flavour: str
    version: tuple[int, int]
    installer: Path | None

    def __str__(self) -> str:
        return f"{self.flavour} {self.version[0]}.{self.version[1]}"


def default_search_path() -> str:
    """Return PATH and the folders where servers are kept."""
    return os.pathsep.join([os.environ.get("PATH", ""), *SERVER_FOLDERS])


def find_server(search_path: str | None = None) -> ServerBinary:
    """Return the first MariaDB, else the first MySQL server found; raise DevstackError when there is none."""
    search_path = default_search_path() if search_path is None else search_path
    for name in ("mariadbd", "mysqld"):
        found = shutil.which(name, path=search_path)
        if found:
            return _describe(Path(found), search_path)
    raise DevstackError(
        "No MariaDB or MySQL server program (mariadbd, mysqld) was found. On Debian and Ubuntu:\n"
        "  sudo apt-get install --no-install-recommends mariadb-server-core mariadb-client-core\n"
        "Or set AIRFLOW_CONN_MYSQL_DEFAULT to use a database of your own."
    )


def _describe(path: Path, search_path: str) -> ServerBinary:
    answer = subprocess.run(
        [path, "--no-defaults", "--version"], capture_output=True, text=True, check=False, timeout=30
    )
    match = re.search(r"Ver (\d+)\.(\d+)", answer.stdout)
    if match is None:
        raise DevstackError(f"{path} --version did not answer as a MariaDB or MySQL server; reinstall its package.")
    version = (int(match[1]), int(match[2]))
    if "MariaDB" not in answer.stdout:
        return ServerBinary(path, "MySQL", version, None)
    installer = shutil.which("mariadb-install-db", path=search_path) or shutil.which(
        "mysql_install_db", path=search_path
    )
    if installer is None:
        raise DevstackError(f"{path} is there, but not mariadb-install-db: reinstall the package mariadb-server-core.")
    return ServerBinary(path, "MariaDB", version, Path(installer))


PORT_TAKEN = "Its port is taken by another program."

_CAUSES = (
    (
        r"no space left|disk full|errcode: 28|error: 28|os error 28",
        "The disk is full. Free some space and try again.",
    ),
    (
        r"address already in use|do you already have another server running on port",
        PORT_TAKEN,
    ),
    (
        r"unable to lock|can't lock aria control file|another (mysqld|mariadbd) process|already running",
        "Another server is already running on this folder. Stop it and try again.",
    ),
    (
        r"invalid (mysql server )?(upgrade|downgrade)|unsupported redo log format|upgrade after a crash|"
        r"was created with|newer than the supported",
        "The data belongs to another version of the server. Delete the folder; it is filled again.",
    ),
    (
        r"permission denied|errcode: 13|error: 13|operating system error number 13",
        "It may not read or write its folder. Check who owns it; on Ubuntu an AppArmor profile confines "
        "mysqld to the system's folders, so install mariadb-server-core, which has none.",
    ),
)


def explain(log_text: str) -> str:
    """Return what a server's error log says went wrong, in plain words, or its last error lines."""
    for pattern, cause in _CAUSES:
        if re.search(pattern, log_text, re.IGNORECASE):
            return cause
    lines = [line for line in log_text.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line] or lines
    return "Its last words: " + " | ".join(errors[-3:]) if errors else "It wrote nothing to its log."
