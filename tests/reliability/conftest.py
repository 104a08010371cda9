"""Runs that something goes wrong with, and the check after each. Every test has a seed and a time limit of its own.

A test module may set LIMIT_SECONDS: the time a test of it may take after its servers have started.
"""

from __future__ import annotations

import faulthandler
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from devstack.database import PrivateServer
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from tests.database import Connect
from tests.operators.conftest import Finished, without_dag_files
from tests.reliability import batches, check, source
from tests.reliability.source import DAY, Source
from tests.reliability.syncs import Calls, make_dag, make_sync, register

HASH_KEY = "a hash key for the tests"
LIMIT_SECONDS = 60.0


class TookTooLong(BaseException):
    """No Exception, or the code under test might take it for one of its own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.reliability)


@pytest.fixture(autouse=True)
def limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that takes too long: by an alarm, at its end if that was swallowed, and at last for everybody."""
    seconds = float(getattr(request.module, "LIMIT_SECONDS", LIMIT_SECONDS))
    rung: list[float] = []

    def ring(_number: int, _frame: FrameType | None) -> None:
        rung.append(seconds)
        raise TookTooLong(f"the test took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    faulthandler.dump_traceback_later(3 * seconds, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()
    assert not rung, f"the test took longer than {seconds:.0f} s"


@pytest.fixture(scope="session")
def airflow() -> None:
    """Make the metadata database of the session."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as started:
        yield started


@pytest.fixture
def sandbox(shared_sandbox: SandboxServer) -> SandboxServer:
    shared_sandbox.reset()
    return shared_sandbox


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """The SQLite file Airflow takes when no connection names a ledger."""
    return f"sqlite:///{tmp_path}/ledger.db"


class Scene:
    """A source, a platform and an Airflow, wired; `run` runs the sync by `dag.test`, `check` checks all that is left.

    The environment is that of the process, so worker processes that are started meanwhile have the same.
    """

    def __init__(
        self,
        folder: Path,
        database: PrivateServer,
        sandbox: SandboxServer,
        setenv: Callable[[str, str], None],
        ledger_url: str,
    ) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.ledger_url = ledger_url
        self.seed = 0
        self._setenv = setenv
        self.source_at(database.airflow_connection())
        self.platform_at()
        self.connect: Connect = database.connect
        self.storage_at(folder)
        without_dag_files(setenv, folder)
        setenv("AIRFLOW__REVERSE_ETL__LEDGER_PATH", f"{folder}/ledger.db")

    def source_at(self, connection: Mapping[str, object]) -> None:
        self._setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(connection))

    def platform_at(self, **extra: object) -> None:
        """Point Airflow at the sandbox; `extra` are settings of the connection."""
        connection = {"conn_type": "iterable", "host": self.sandbox.url, "password": SERVER_KEY, "extra": extra}
        self._setenv("AIRFLOW_CONN_ITERABLE_DEFAULT", json.dumps(connection))

    def storage_at(self, folder: Path) -> None:
        for name in ("staging", "output"):
            self._setenv(f"AIRFLOW__REVERSE_ETL__{name.upper()}_PATH", f"file://{folder}/{name}")

    def ledger_at(self, url: str, connection: Mapping[str, object] | None = None) -> None:
        """Use another ledger: a server's, by its connection, or a SQLite file."""
        self.ledger_url = url
        if connection is None:
            self._setenv("AIRFLOW__REVERSE_ETL__LEDGER_PATH", url.removeprefix("sqlite:///"))
        else:
            self._setenv("AIRFLOW_CONN_REVERSE_ETL_LEDGER", json.dumps(connection))

    def open_ledger(self) -> Ledger:
        return Ledger.open(self.ledger_url)

    def plan(self, name: str, rows: int, calls: Calls, *, seed: int, **options: Any) -> Source:
        """Make the table of a source, and the platform ready for it."""
        self.seed = seed
        planned = source.plan(name, rows, seed=seed, in_bulk=calls == "bulk", **options)
        source.load(self.connect, planned)
        self.sandbox.settings(limits="off")
        for path, body in source.preparation(planned):
            self.sandbox.post(path, body)
        self.sandbox.settings(limits="published")
        return planned

    def run(
        self,
        planned: Source,
        calls: Calls,
        *,
        retries: int = 3,
        retry_seconds: float = 0,
        failure_share: float = 0.1,
        pause: str = "0",
        before: str = "",
        disturb: Callable[[], None] | None = None,
        on_retry: Callable[[], None] | None = None,
        **params: object,
    ) -> Finished:
        """Run the sync of a source to its end, whatever that is."""
        query = self.query(planned)
        query.write_text(planned.query(pause=pause), encoding="utf-8")
        sync = make_sync(planned.name, query, calls, failure_share=failure_share)
        dag = make_dag(sync, retries=retries, retry_seconds=retry_seconds, before=before, disturb=disturb)
        if on_retry is not None:
            for task in dag.tasks:
                task.on_retry_callback = [lambda _context: on_retry()]
        register(dag)
        return Finished(dag.test(run_conf={"date": DAY, **params}), self.folder / "output")

    def extract(self, planned: Source, calls: Calls) -> dict[str, Any]:
        """Return the reference of the one batch of a source, of which nothing is sent."""
        (batch,) = self.run(planned, calls, dry_run=True).xcom("extract")
        reference: dict[str, Any] = batch
        return reference

    def query(self, planned: Source) -> Path:
        """Return the file of the sync's query."""
        return self.folder / f"{planned.name}.sql"

    def check(self, planned: Source, finished: Finished) -> None:
        """Fail with everything that is not as the source says."""
        self.check_pushed(planned, check.RunId(planned.name, finished.run.run_id), finished.result)
        assert finished.state == "success", f"seed {self.seed}: {finished.result['problems']}"

    def check_batch(self, planned: Source, results: Path, totals: Mapping[str, int]) -> None:
        """Check the delivery of one batch by `batches.deliver`, which comes to no report."""
        counts = {"read": len(planned.rows), **totals}
        summary = self.folder / "summary.json"
        summary.write_text(json.dumps({"totals": counts}), encoding="utf-8")
        pushed = {"totals": counts, "json": str(summary), "parquet": str(results)}
        run = check.RunId(planned.name, batches.RUN)
        seen = check.observe(self.sandbox, self.ledger_url, run, planned, pushed)
        seen.ledger_totals, seen.ledger_finished = counts, True
        self._nothing_wrong(planned, seen)

    def check_pushed(self, planned: Source, run: check.RunId, pushed: Mapping[str, Any]) -> None:
        """The same of a run in another process, whose report pushed this."""
        seen = check.observe(self.sandbox, self.ledger_url, run, planned, pushed)
        self._nothing_wrong(planned, seen)

    def _nothing_wrong(self, planned: Source, seen: check.Observed) -> None:
        wrong = check.differences(planned, planned.name, seen, HASH_KEY)
        assert not wrong, f"seed {self.seed}, {len(wrong)} differences:\n" + "\n".join(wrong[:20])


@pytest.fixture
def scene(
    airflow: None,
    server: PrivateServer,
    sandbox: SandboxServer,
    tmp_path: Path,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    return Scene(tmp_path, server, sandbox, monkeypatch.setenv, ledger_url)
