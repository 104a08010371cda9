"""The source database dies in the middle of the extract."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import processes
from devstack.database import PrivateServer
from tests.reliability.conftest import Scene

LIMIT_SECONDS = 90.0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PrivateServer]:
    # The kernel would end it with the thread that starts it again.
    with PrivateServer(tmp_path / "source", outlive=True) as started:
        yield started


class Killer:
    """Kills a server by SIGKILL once the extract has written a batch, and starts it again where that is wanted."""

    def __init__(self, server: PrivateServer, staging: Path, *, restart: bool) -> None:
        self._server = server
        self._staging = staging
        self._restart = restart
        self.batches = 0
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.join(60)
        if self.problem is not None:
            raise self.problem

    def _run(self) -> None:
        try:
            end = time.monotonic() + 30
            while not self.batches and time.monotonic() < end:
                self.batches = len(list(self._staging.glob("**/batch-*.parquet")))
                time.sleep(0.02)
            kill(self._server)
            if self._restart:
                self._server.start()
        except BaseException as problem:
            self.problem = problem


def kill(server: PrivateServer) -> None:
    """End a server as a power cut would, and wait until it is gone."""
    found = processes.recall(server._record)
    assert found is not None, "the server does not run"
    os.kill(found[0].pid, signal.SIGKILL)
    if server._child is not None:
        server._child.wait(20)
    assert processes.wait_until(lambda: not server.is_running, 20)


@pytest.mark.parametrize("seed", [101])
def test_a_source_that_dies_and_comes_back_loses_and_doubles_nothing(
    scene: Scene, own_server: PrivateServer, seed: int
) -> None:
    scene.connect = own_server.connect
    scene.source_at(own_server.airflow_connection())
    planned = scene.plan(f"source_{seed}", 400, "bulk", seed=seed)
    with Killer(own_server, scene.folder / "staging", restart=True) as killer:
        finished = scene.run(planned, "bulk", retries=30, retry_seconds=1, pause="0.004", batch_rows=100)
    assert killer.batches >= 1
    assert finished.tries("extract") > 1, f"seed {seed}: the extract did not notice"
    assert sorted(path.name for path in (scene.folder / "staging").glob("**/batch-*.parquet")) == [
        f"batch-{number:05d}.parquet" for number in range(4)
    ]
    scene.check(planned, finished)


@pytest.mark.parametrize("seed", [102])
def test_a_source_that_stays_away_fails_the_run_and_nothing_is_sent(
    scene: Scene, own_server: PrivateServer, seed: int
) -> None:
    scene.connect = own_server.connect
    scene.source_at(own_server.airflow_connection())
    planned = scene.plan(f"source_{seed}", 400, "bulk", seed=seed)
    users, before = scene.sandbox.users(), scene.sandbox.stats()["requests_total"]
    with Killer(own_server, scene.folder / "staging", restart=False) as killer:
        finished = scene.run(planned, "bulk", retries=1, pause="0.004", batch_rows=100)
    assert killer.batches >= 1
    assert finished.state == "failed"
    assert (finished.states("extract"), finished.states("report")) == (["failed"], ["failed"])
    assert finished.tries("extract") == 2
    assert scene.sandbox.stats()["requests_total"] == before, f"seed {seed}"
    assert scene.sandbox.users() == users
    assert not (scene.folder / "output").exists()
