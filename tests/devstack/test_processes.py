from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import processes
from devstack.errors import DevstackError
from devstack.lock import exclusive

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    child = processes.launch(["sleep", "60"], log=tmp_path / "log")
    yield child
    if child.poll() is None:
        child.kill()
    child.wait()


def identity(child: subprocess.Popen[bytes]) -> processes.ProcessId:
    found = processes.ProcessId.of(child.pid)
    assert found is not None
    return found


def test_a_stranger_with_the_same_process_id_is_not_taken_for_ours(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    ours = identity(sleeper)
    stranger = processes.ProcessId(ours.pid, ours.started - 1, ours.boot)
    processes.record(tmp_path / "record", stranger)
    assert processes.recall(tmp_path / "record") is None
    assert processes.recall_session(tmp_path / "record") is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"process": {"pid": 1}, "facts": {}}'])
def test_a_broken_record_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "record").write_text(content)
    assert processes.recall(tmp_path / "record") is None
    assert processes.recall_session(tmp_path / "record") is None


def test_an_ended_process_is_not_recalled(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    processes.record(tmp_path / "record", identity(sleeper), port=1)
    assert processes.recall(tmp_path / "record") == (identity(sleeper), {"port": 1})
    processes.stop(identity(sleeper))
    assert processes.recall(tmp_path / "record") is None


def test_a_process_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = processes.launch(["bash", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"], log=log)
    assert processes.wait_until(lambda: "deaf" in log.read_text(), 10)
    processes.stop_session(identity(child), patience=0.3)
    child.poll()
    assert processes.session_members(child.pid) == []


def test_members_of_a_session_are_stopped_when_their_leader_is_gone(tmp_path: Path) -> None:
    log, record = tmp_path / "log", tmp_path / "record"
    # `set -m` gives the background job a process group of its own, as Airflow does with its tasks.
    child = processes.launch(["bash", "-c", "set -m; sleep 60 & echo ready; wait"], log=log, outlive=True)
    leader = identity(child)
    processes.record(record, leader)
    assert processes.wait_until(lambda: "ready" in log.read_text(), 10)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert processes.recall_session(record) == leader
    processes.stop_session(leader)
    assert processes.recall_session(record) is None


def test_a_child_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from devstack import processes\n"
        f"child = processes.launch(['sleep', '60'], log=Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert processes.wait_until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep"), 10)
    parent.kill()
    parent.communicate()
    assert processes.wait_until(lambda: processes.ProcessId.of(pid) is None, 10)


def test_private_files_are_private_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "secret"
    processes.write_private(path, json.dumps({"a": 1}))
    processes.write_private(path, json.dumps({"a": 2}))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"a": 2}


def test_the_second_holder_of_the_lock_is_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        exclusive(path, "make run DATE=2026-01-13"),
        pytest.raises(DevstackError, match=rf"make run DATE=2026-01-13 \(process {os.getpid()}\)"),
        exclusive(path, "make up"),
    ):
        pass
    with exclusive(path, "make up"):
        assert path.read_text().startswith("make up")
