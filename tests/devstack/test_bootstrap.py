from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = [
    "awk",
    "bash",
    "cat",
    "chmod",
    "cut",
    "date",
    "df",
    "dirname",
    "env",
    "grep",
    "head",
    "id",
    "ln",
    "mkdir",
    "printf",
    "rm",
    "sed",
    "sha256sum",
    "tail",
    "touch",
    "tr",
    "wc",
]


class Machine:
    """A project folder and a PATH that holds only what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "my project"
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.project / "devstack").mkdir(parents=True)
        for name in ("devstack/bootstrap.sh", "devstack/dates.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.project / name)
        for name in ("requirements.txt", "requirements-dev.txt", "requirements-notebooks.txt", "constraints.txt"):
            shutil.copy(ROOT / name, self.project / name)
        for name in TOOLS:
            found = shutil.which(name)
            if found is not None:
                (self.bin / name).symlink_to(found)

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def real_python(self) -> None:
        self.program("python3", f'exec "{sys.executable}" "$@"')

    def all_tools(self) -> None:
        """Everything but the Python packages."""
        self.real_python()
        for name in ("gcc", "pkg-config", "mariadbd"):
            self.program(name, "exit 0")

    def uv(self) -> None:
        """A uv that makes an empty environment and notes how it was called."""
        self.program(
            "uv",
            'echo "$1 $2 ${*: -1} cache=${UV_CACHE_DIR:-default}" >> calls\n'
            "[[ $1 == venv ]] || exit 0\n"
            f'mkdir -p .venv/bin && ln -sf "{sys.executable}" .venv/bin/python',
        )

    def calls(self) -> list[str]:
        """What uv was called with since the last question."""
        file = self.project / "calls"
        found = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return found

    def bootstrap(self, *arguments: str, rights: str = "own", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script; `rights` is "own", "root" or "nobody" (a user namespace without capabilities)."""
        command = [str(self.bin / "bash"), str(self.project / "devstack" / "bootstrap.sh"), *arguments]
        if rights == "nobody" and os.geteuid() == 0:
            command = ["/usr/bin/unshare", "--user", *command]
        if rights == "root" and os.geteuid() != 0:
            command = ["/usr/bin/unshare", "--user", "--map-root-user", *command]
        return subprocess.run(
            command,
            env={"PATH": str(self.bin), "HOME": str(self.project), "LC_ALL": "C", **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def namespaces_allowed() -> bool:
    command = ["/usr/bin/unshare", "--user", "--map-root-user", "true"]
    return Path(command[0]).exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(not namespaces_allowed(), reason="needs user namespaces to change rights")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_old_python_is_named_with_what_is_needed(machine: Machine) -> None:
    machine.program("python3", '[[ $1 == --version ]] && echo "Python 3.9.2"; exit 1')
    answer = machine.bootstrap()
    assert answer.returncode == 1
    assert "Python 3.11 to 3.14" in answer.stderr
    assert "python3 (Python 3.9.2)" in answer.stderr
    assert not (machine.project / ".venv").exists()


def test_no_python_at_all_is_said(machine: Machine) -> None:
    answer = machine.bootstrap()
    assert answer.returncode == 1
    assert "Found: none" in answer.stderr


def test_a_newer_python_is_found_behind_an_old_one(machine: Machine) -> None:
    machine.all_tools()
    machine.uv()
    machine.program("python3", '[[ $1 == --version ]] && echo "Python 3.9.2"; exit 1')
    machine.program("python3.12", f'exec "{sys.executable}" "$@"')
    answer = machine.bootstrap()
    assert answer.returncode == 0, answer.stderr
    assert "Creating .venv with Python 3." in answer.stdout


@pytest.mark.parametrize(("day", "words"), [("13.1.2026", "write it as YYYY-MM-DD"), ("2026-02-30", "not a day")])
def test_a_bad_date_is_refused_before_anything_is_installed(machine: Machine, day: str, words: str) -> None:
    machine.real_python()
    answer = machine.bootstrap("--date", day)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("arguments", [("--date",), ("--fast",)])
def test_wrong_use_is_refused(machine: Machine, arguments: tuple[str, ...]) -> None:
    assert machine.bootstrap(*arguments).returncode == 2


@needs_namespaces
def test_without_the_right_to_install_the_command_is_printed(machine: Machine) -> None:
    machine.real_python()
    machine.program("apt-get", "touch called; exit 99")
    machine.program("apt-cache", "exit 0")
    answer = machine.bootstrap(rights="nobody")
    assert answer.returncode == 1
    assert "installing them needs root: gcc libc6-dev pkg-config libmariadb-dev" in answer.stderr
    assert "sudo apt-get update && sudo apt-get install --no-install-recommends gcc libc6-dev" in answer.stderr
    assert not (machine.project / "called").exists()


@needs_namespaces
def test_a_folder_one_may_not_write_in_is_named(machine: Machine) -> None:
    machine.all_tools()
    machine.project.chmod(0o555)
    answer = machine.bootstrap(rights="nobody")
    machine.project.chmod(0o755)
    assert answer.returncode == 1
    assert f"No permission to write in {machine.project}" in answer.stderr


def test_elsewhere_than_on_debian_the_missing_packages_are_named(machine: Machine) -> None:
    machine.real_python()
    answer = machine.bootstrap()
    assert answer.returncode == 1
    assert "This machine lacks: gcc libc6-dev pkg-config libmariadb-dev" in answer.stderr
    assert "Only Debian and Ubuntu are set up automatically" in answer.stderr


@needs_namespaces
def test_only_missing_packages_are_installed_and_the_lists_are_refreshed_once(machine: Machine) -> None:
    machine.all_tools()
    machine.uv()
    (machine.bin / "pkg-config").unlink()
    machine.program("apt-cache", "exit 0")
    machine.program("apt-get", 'echo "$*" >> apt-calls')
    answer = machine.bootstrap(rights="root")
    assert answer.returncode == 0, answer.stderr
    update, install = (machine.project / "apt-calls").read_text().splitlines()
    assert update.startswith("update")
    assert install == "install -y -q --no-install-recommends pkg-config libmariadb-dev"


@needs_namespaces
@pytest.mark.parametrize(
    ("words", "plain"),
    [
        ("Temporary failure resolving 'deb.debian.org'", "No network: apt-get update could not reach"),
        ("E: You don't have enough free space in /var/cache: No space left on device", "The disk is full"),
        ("E: Could not open lock file: Permission denied", "No permission"),
        ("E: the moon is in the wrong phase", "apt-get update failed."),
    ],
)
def test_what_stops_apt_is_said_in_plain_words(machine: Machine, words: str, plain: str) -> None:
    machine.real_python()
    machine.program("apt-cache", "exit 0")
    machine.program("apt-get", f'echo "{words}" >&2; exit 100')
    answer = machine.bootstrap(rights="root")
    assert answer.returncode == 1
    assert plain in answer.stderr
    assert words in answer.stderr


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        ("cause: dns error", "No network: creating .venv could not reach"),
        ("No space left on device (os error 28)", "The disk is full"),
    ],
)
def test_what_stops_uv_is_said_in_plain_words(machine: Machine, words: str, plain: str) -> None:
    machine.all_tools()
    machine.program("uv", f'echo "{words}" >&2; exit 2')
    answer = machine.bootstrap()
    assert answer.returncode == 1
    assert plain in answer.stderr


def test_a_nearly_full_disk_is_refused_up_front(machine: Machine) -> None:
    machine.all_tools()
    machine.uv()
    (machine.bin / "df").unlink()
    machine.program("df", 'echo "Filesystem 1024-blocks Used Available"; echo "/dev/x 9 9 20480"')
    answer = machine.bootstrap()
    assert answer.returncode == 1
    assert "20 MB free" in answer.stderr
    assert machine.calls() == []


def test_nothing_is_done_again_until_something_changes(machine: Machine) -> None:
    machine.all_tools()
    machine.uv()

    def calls_of(*arguments: str) -> int:
        answer = machine.bootstrap(*arguments)
        assert answer.returncode == 0, answer.stderr
        return len(machine.calls())

    assert calls_of() == 3
    assert calls_of() == 0
    assert calls_of("--dev") == 2
    assert calls_of() == 0
    assert calls_of("--notebooks", "--dev") == 2
    assert calls_of("--dev") == 0
    with (machine.project / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    assert calls_of() == 2
    assert calls_of("--dev", "--notebooks") == 0
    shutil.rmtree(machine.project / ".venv")
    assert calls_of() == 3


@pytest.mark.parametrize("home", ["", "/proc/nowhere"])
def test_the_cache_moves_into_the_project_when_home_cannot_be_written(machine: Machine, home: str) -> None:
    machine.all_tools()
    machine.uv()
    answer = machine.bootstrap(HOME=home)
    assert answer.returncode == 0, answer.stderr
    assert {call.partition("cache=")[2] for call in machine.calls()} == {f"{machine.project}/.local/uv-cache"}


@pytest.mark.parametrize(
    ("line", "needed"),
    [("AIRFLOW_CONN_MYSQL_DEFAULT=", True), ("", True), ("export AIRFLOW_CONN_MYSQL_DEFAULT='{}'", False)],
)
def test_a_database_of_the_user_needs_no_server_here(machine: Machine, line: str, *, needed: bool) -> None:
    machine.all_tools()
    machine.uv()
    (machine.project / ".env").write_text(f"{line}\n")
    (machine.bin / "mariadbd").unlink()
    # The machine that runs this test has a server in one of the usual folders.
    answer = machine.bootstrap(SERVER_FOLDERS="/nowhere")
    assert ("mariadb-server-core" in answer.stderr) == needed
    assert answer.returncode == (1 if needed else 0)
