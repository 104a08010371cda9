"""The ledger is locked, or its server goes away, in the middle of a delivery."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from devstack.database import PrivateServer
from devstack.errors import DevstackError
from devstack.postgres import PrivatePostgres
from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.errors import LedgerUnavailable
from reverse_etl.ledger.ledger import Ledger
from tests.database import run
from tests.reliability.batches import deliver
from tests.reliability.conftest import Scene
from tests.reliability.source import Source
from tests.reliability.test_source import kill

LIMIT_SECONDS = 90.0

IN_FLIGHT = 10
PASSWORD = "hunter2-of-the-ledger"


class Meanwhile:
    """Does something in a thread once the sandbox has seen so many requests, and tells what went wrong there."""

    def __init__(self, scene: Scene, requests: int, do: Callable[[], None]) -> None:
        self._scene = scene
        self._until = requests
        self._do = do
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Meanwhile:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.join(60)
        if self.problem is not None:
            raise self.problem

    def _run(self) -> None:
        try:
            end = time.monotonic() + 40
            while self._scene.sandbox.stats()["requests_total"] < self._until:
                assert time.monotonic() < end, f"{self._until} requests did not come"
                time.sleep(0.02)
            self._do()
        except BaseException as problem:
            self.problem = problem


def slow_scene(scene: Scene, name: str, seed: int) -> Source:
    """Return a source whose delivery call by call takes some seconds."""
    planned = scene.plan(name, 150, "single", seed=seed)
    scene.platform_at(requests_in_flight=IN_FLIGHT)
    scene.sandbox.settings(latency_ms=100)
    return planned


@pytest.mark.parametrize("seed", [111])
def test_a_ledger_that_is_locked_for_a_while_is_waited_for(scene: Scene, seed: int) -> None:
    planned = slow_scene(scene, f"locked_{seed}", seed)
    seen: list[int] = []

    def lock() -> None:
        file = scene.ledger_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(1.5)  # what is under way comes to its mark
            seen.append(scene.sandbox.stats()["requests_total"])
            time.sleep(2.0)
            seen.append(scene.sandbox.stats()["requests_total"])

    with Meanwhile(scene, 60, lock):
        finished = scene.run(planned, "single", retries=0)
    assert seen[0] == seen[1], f"seed {seed}: {seen[1] - seen[0]} requests left although nothing could be marked"
    scene.check(planned, finished)


def mysql_ledger(scene: Scene, server: PrivateServer) -> None:
    name = "ledger"
    run(
        lambda: server.connect("mysql"),
        f"CREATE DATABASE {name}",
        f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'",
        f"GRANT ALL ON {name}.* TO {name}@'127.0.0.1'",
    )
    use_server(scene, "mysql", server.port, name)


def use_server(scene: Scene, kind: str, port: int, name: str) -> None:
    conn_type = {"mysql": "mysql", "postgresql": "postgres"}[kind]
    parts = {"host": "127.0.0.1", "port": port, "login": name, "password": PASSWORD, "schema": name}
    scene.ledger_at(f"{kind}://{name}:{PASSWORD}@127.0.0.1:{port}/{name}", {"conn_type": conn_type, **parts})


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PrivateServer]:
    # The kernel would end it with the thread that starts it again.
    with PrivateServer(tmp_path / "ledger-server", outlive=True) as started:
        yield started


@pytest.fixture
def postgres() -> Iterator[PrivatePostgres]:
    try:
        server = PrivatePostgres()
    except DevstackError as reason:
        pytest.skip(str(reason).splitlines()[0])
    with server:
        yield server


@pytest.mark.parametrize("seed", [121])
def test_a_mariadb_ledger_that_dies_stops_the_sending_and_the_next_try_resumes(
    scene: Scene, own_server: PrivateServer, seed: int
) -> None:
    planned = slow_scene(scene, f"mariadb_{seed}", seed)
    mysql_ledger(scene, own_server)

    def out() -> None:
        kill(own_server)

    away = Away(scene, out, own_server.start)
    with Meanwhile(scene, 60, away):
        finished = scene.run(planned, "single", retries=30, retry_seconds=1)
    check_away(scene, planned, finished, away, seed)


@pytest.mark.parametrize("seed", [122])
def test_a_postgresql_ledger_that_throws_everybody_out_stops_the_sending_and_the_next_try_resumes(
    scene: Scene, postgres: PrivatePostgres, seed: int
) -> None:
    planned = slow_scene(scene, f"postgres_{seed}", seed)
    name = "ledger_of_tests"
    run(postgres.connect, f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'", f"CREATE DATABASE {name} OWNER {name}")
    use_server(scene, "postgresql", postgres.port, name)

    def out() -> None:
        run(
            postgres.connect,
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )

    away = Away(scene, out, lambda: run(postgres.connect, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    with Meanwhile(scene, 60, away):
        finished = scene.run(planned, "single", retries=30, retry_seconds=1)
    check_away(scene, planned, finished, away, seed)


class Away:
    """Takes a ledger away and brings it back, counting the requests that leave meanwhile."""

    def __init__(self, scene: Scene, out: Callable[[], None], back: Callable[[], object]) -> None:
        self._scene = scene
        self._out = out
        self._back = back
        self.left = -1
        self.later = -1

    def __call__(self) -> None:
        self._out()
        before = self._requests()
        time.sleep(1.0)
        first = self._requests()
        time.sleep(1.0)
        self.left, self.later = first - before, self._requests() - first
        self._back()

    def _requests(self) -> int:
        """Requests answered and those that wait for their answer."""
        stats = self._scene.sandbox.stats()
        return int(stats["requests_total"]) + int(stats["in_flight"])


def check_away(scene: Scene, planned: Source, finished: Any, away: Away, seed: int) -> None:
    assert finished.tries("deliver") > 1, f"seed {seed}: the delivery did not notice"
    # One transaction may have been on its way when the server went; what it freed may leave.
    assert away.left <= IN_FLIGHT, f"seed {seed}: {away.left} requests left after the ledger had gone"
    assert away.later == 0, f"seed {seed}: {away.later} requests left more than a second after the ledger had gone"
    assert finished.result["resumed_calls"] > 0
    refused = planned.of_fate[Outcome.REJECTED] * finished.tries("deliver")
    sent = scene.sandbox.stats()["requests_total"]
    assert sent <= planned.calls + 2 * IN_FLIGHT + refused + PREPARED, f"seed {seed}: {sent} requests"
    scene.check(planned, finished)


PREPARED = 10
"""Requests of the preparation, at most."""


@pytest.mark.parametrize("seed", [131])
def test_a_ledger_that_stays_locked_stops_the_delivery_after_the_patience_and_the_next_try_resumes(
    scene: Scene, seed: int
) -> None:
    planned = slow_scene(scene, f"patience_{seed}", seed)
    batch, results = scene.extract(planned, "single"), scene.folder / "results.parquet"
    file = scene.ledger_url.removeprefix("sqlite:///")
    arguments = (planned.name, scene.query(planned), "single", batch, f"file://{results}")
    over = threading.Event()

    def lock() -> None:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            assert over.wait(40), "the delivery did not give up"

    with Meanwhile(scene, 60, lock):
        try:
            first = deliver(*arguments, patience=1.0)
        finally:
            over.set()
    assert isinstance(first.stopped, LedgerUnavailable), f"seed {seed}: {first.stopped!r}"
    assert "it stayed locked for too long" in str(first.stopped)
    assert first.totals["failed"] > 0
    second = deliver(*arguments)
    assert (second.stopped, second.resumed > 0) == (None, True), f"seed {seed}"
    scene.check_batch(planned, results, second.totals)


def test_a_table_that_somebody_locks_in_mariadb_is_waited_for_no_longer_than_the_patience(
    scene: Scene, own_server: PrivateServer
) -> None:
    """As a backup does that locks tables; such a lock is not one of a row."""
    mysql_ledger(scene, own_server)
    problems: list[LedgerUnavailable] = []

    def discard(ledger: Ledger) -> None:
        try:
            ledger.quarantine.discard("a_sync")
        except LedgerUnavailable as problem:
            problems.append(problem)

    with Ledger.open(scene.ledger_url, patience=1.0) as ledger, closing(own_server.connect("ledger")) as other:
        other.cursor().execute("LOCK TABLES quarantine WRITE")
        waiting = threading.Thread(target=discard, args=(ledger,), daemon=True)
        waiting.start()
        waiting.join(20)
        gave_up = not waiting.is_alive()
        other.cursor().execute("UNLOCK TABLES")
        waiting.join(20)
    assert gave_up, "with a patience of 1 s it still waits after 20 s"
    assert "it stayed locked for too long" in str(problems[0])
