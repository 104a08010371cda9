"""Start, recognise and stop background processes.

A process id alone may have been given to a stranger since; with its start time and the boot it belongs to it
is unmistakable.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class ProcessId:
    """A process of this machine: its id, its start time in clock ticks since boot, and the boot."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Return the identity of a running process, or None when there is none (a zombie is none)."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            boot = BOOT_ID.read_text(encoding="utf-8").strip()
        except OSError:
            return None
        # proc_pid_stat(5): after the command in parentheses comes field 3, the state; starttime is field 22.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]), boot)

    @property
    def is_running(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self


def launch(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    outlive: bool = False,
    death_signal: str = "TERM",
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, output appended to `log`.

    Unless `outlive` is set, the kernel ends it by `death_signal` when the process that called this dies, in
    whatever way.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    if not outlive and shutil.which("setpriv"):
        words = ["setpriv", "--pdeathsig", death_signal, *words]
    with log.open("ab") as output:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            pass_fds=pass_fds,
        )


def write_private(path: Path, text: str) -> None:
    """Replace a file by one only this user can read, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def record(path: Path, process: ProcessId, **facts: str | int) -> None:
    """Remember a background process and some facts about it."""
    write_private(path, json.dumps({"process": vars(process), "facts": facts}))


def recall(path: Path) -> tuple[ProcessId, dict[str, str | int]] | None:
    """Return a recorded process and its facts while it runs; None when it has ended or was never recorded."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        process = ProcessId(**content["process"])
        facts: dict[str, str | int] = content["facts"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (process, facts) if process.is_running else None


def recall_session(path: Path) -> ProcessId | None:
    """Return the recorded leader of a session while any member of the session runs.

    The kernel gives a process id to no stranger while a session still bears it; a running process with the
    recorded id but another start time is therefore a stranger, and its session is left alone.
    """
    try:
        process = ProcessId(**json.loads(path.read_text(encoding="utf-8"))["process"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if process.boot != BOOT_ID.read_text(encoding="utf-8").strip():
        return None
    now = ProcessId.of(process.pid)
    return process if now in (None, process) and session_members(process.pid) else None


def wait_until(condition: Callable[[], bool], seconds: float, *, pause: float = 0.05) -> bool:
    """Ask until the condition holds; return whether it did within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def stop(process: ProcessId, *, patience: float = 20) -> None:
    """Ask a process to end with SIGTERM; after `patience` seconds, kill it."""

    def ended() -> bool:
        _reap(process.pid)
        return not process.is_running

    for number in (signal.SIGTERM, signal.SIGKILL):
        if ended():
            return
        _send(process.pid, number)
        if wait_until(ended, patience):
            return


def stop_session(leader: ProcessId, *, first: signal.Signals = signal.SIGTERM, patience: float = 20) -> None:
    """Send `first` to the leader of a session; after `patience` seconds, kill what is left of the session.

    A session, because a task of Airflow leaves the process group of its parent, but not the session.
    """

    def ended() -> bool:
        _reap(leader.pid)
        return not session_members(leader.pid)

    if leader.is_running:
        _send(leader.pid, first)
        wait_until(lambda: ended() or not leader.is_running, patience)
    # Tasks notice the end of their parent by themselves; two seconds let them.
    wait_until(ended, 2)
    for pid in session_members(leader.pid):
        _send(pid, signal.SIGKILL)
    wait_until(ended, patience)


def session_members(leader: int) -> list[int]:
    """Return the running processes of a session, zombies left out."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _session_of(pid) == leader]


def _session_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[3])


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _reap(pid: int) -> None:
    """Collect the exit status if the process is a child of ours, so that it does not stay as a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
