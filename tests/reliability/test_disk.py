"""The disk is full: that of the batches and results, or that of the ledger, while each of the tasks writes.

The small disk is a tmpfs, which root may mount; others may in a namespace of their own, where this file is run again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.reliability.conftest import Scene

IN_NAMESPACE = "RELIABILITY_IN_NAMESPACE"
MEGABYTES = 24


class SmallDisk:
    """A file system of its own, which can be filled up and freed again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, *, leave: int = 0) -> None:
        """Leave about `leave` bytes free."""
        with self._filler.open("ab", buffering=0) as file:
            chunk = b"\0" * 4096
            try:
                while shutil.disk_usage(self.folder).free > leave:
                    file.write(chunk)
            except OSError:
                return

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)


def may_mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "small"
    folder.mkdir()
    if not may_mount(folder):
        pytest.skip("only root may mount a small disk; test_the_disk_tests_in_a_namespace runs this where that works")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_the_disk_tests_in_a_namespace(tmp_path: Path) -> None:
    """Run this file again where this user may mount."""
    if os.geteuid() == 0:
        pytest.skip("the other tests of this file run: this user is root")
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode != 0:
        pytest.skip("neither root nor allowed to make a namespace (unshare -rm): no small disk to be had")
    command = ["unshare", "-rm", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


@pytest.mark.parametrize(
    ("task", "files"),
    [
        ("extract", "schema.parquet"),
        ("deliver", "results-00000.parquet"),
        ("report", "results.parquet"),
    ],
)
@pytest.mark.parametrize("seed", [131])
def test_a_full_disk_stops_the_task_with_its_reason_and_the_next_try_makes_it_whole(
    scene: Scene, disk: SmallDisk, capsys: pytest.CaptureFixture[str], task: str, files: str, seed: int
) -> None:
    scene.storage_at(disk.folder)
    planned = scene.plan(f"disk_{task}_{seed}", 120, "bulk", seed=seed)
    whole: list[set[str]] = []

    def free() -> None:
        whole.append({path.name for path in disk.folder.glob("**/*.parquet") if not path.name.startswith(".")})
        disk.free()

    disturb: Callable[[], None] | None = disk.fill
    if task == "extract":
        (disk.folder / "staging").mkdir()
        disk.fill()
        disturb = None
    finished = scene.run(planned, "bulk", retries=2, before=task, disturb=disturb, on_retry=free)
    assert finished.tries(task) > 1, f"seed {seed}: the full disk was not noticed"
    told = capsys.readouterr().out
    assert f"{files} was not written: no space is left on its storage; free some or choose another path" in told
    assert files not in whole[0], f"seed {seed}: what was cut short stands as if it were whole"
    scene.check(planned, finished)


@pytest.mark.parametrize("task", ["deliver", "report"])
@pytest.mark.parametrize("seed", [141])
def test_a_ledger_on_a_full_disk_stops_the_task_and_the_next_try_makes_it_whole(
    scene: Scene, disk: SmallDisk, capsys: pytest.CaptureFixture[str], task: str, seed: int
) -> None:
    scene.ledger_at(f"sqlite:///{disk.folder}/ledger.db")
    planned = scene.plan(f"full_{task}_{seed}", 120, "bulk", seed=seed)
    finished = scene.run(planned, "bulk", retries=2, before=task, disturb=disk.fill, on_retry=disk.free)
    assert finished.tries(task) > 1, f"seed {seed}: the full disk was not noticed"
    told = capsys.readouterr().out
    assert f"the ledger at {disk.folder}/ledger.db could not" in told
    assert "its disk is full; free some space, then run the task again" in told, messages(told)
    scene.check(planned, finished)


@pytest.mark.parametrize("seed", [142])
def test_a_ledger_that_fills_up_in_the_middle_of_a_delivery_stops_it_and_the_next_try_resumes(
    scene: Scene, disk: SmallDisk, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    scene.ledger_at(f"sqlite:///{disk.folder}/ledger.db")
    planned = scene.plan(f"middle_{seed}", 400, "single", seed=seed)

    def fill() -> None:
        with scene.open_ledger() as ledger:
            ledger.quarantine.counts()
        disk.fill(leave=700 * 1024)

    finished = scene.run(planned, "single", retries=2, before="deliver", disturb=fill, on_retry=disk.free)
    assert finished.tries("deliver") > 1, f"seed {seed}: the full disk was not noticed"
    assert "its disk is full; free some space, then run the task again" in capsys.readouterr().out
    assert finished.result["resumed_calls"] > 0, f"seed {seed}: the disk was full before anything was marked"
    scene.check(planned, finished)


def messages(told: str) -> list[str]:
    return sorted(set(re.findall(r"the ledger at [^\n]{0,300}", told)))
