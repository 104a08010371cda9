"""The parts of a run: beside what a user writes, at the published limits, without limits, and as rows grow."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import peer_environment, sandbox
from benchmarks.contenders import Contender, environment, measure
from benchmarks.job import Job
from benchmarks.ours import UNRECORDED
from benchmarks.sync import BULK
from devstack.database import PrivateServer
from devstack.ports import HOST

LATENCY_MS = 50
BATCHES_AT_ONCE = 2
"""As in the DAG of the project."""

SCRIPT = "script, requests.post"
BARE = "bare loader, no bookkeeping"
UNLEDGERED = "ours, no ledger"
WITH_SQLITE = "ours, ledger in SQLite"
WITH_MYSQL = "ours, ledger in MariaDB"
DRT = "drt-core"


@dataclass(frozen=True)
class Plan:
    """How much is measured: rows of each contender, repetitions of the speed measures, rows of the growing runs."""

    script_rows: int = 100
    http_rows: int = 30
    our_rows: int = 15_000
    limited_rows: int = 200_000
    unlimited_rows: int = 200_000
    repeats: int = 3
    growing_rows: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    changed_rows: tuple[int, ...] = (50_000, 1_000_000)
    customerio_rows: int = 100_000
    customerio_memory_rows: int = 500_000

    def seconds(self, parts: Iterable[str]) -> float:
        """Return roughly how long the parts take, from rates seen on two cores."""
        script = 2 * self.script_rows / 9 + self.http_rows + 40 + 2 * self.our_rows / 490
        unlimited = self.script_rows / 9 + self.unlimited_rows * (2 / 7_000 + 3 / 20_000 + 1 / 30_000) + 40
        costs = {
            "script": self.repeats * script,
            "limits": self.limited_rows / 4_800 + 20,
            "unlimited": self.repeats * unlimited,
            "growth": sum(self.growing_rows) / 9_000 + 30,
            "changed": sum(self.changed_rows) * (1 / 4_800 + 1 / 25_000) + 30,
            "customerio": (self.repeats + 2.5) * self.customerio_rows / 3_000 + 15 * (self.repeats + 3),
            "customerio_memory": self.customerio_memory_rows / 5_000 + 30,
        }
        return sum(costs[part] for part in parts)


QUICK = Plan(10, 3, 1500, 5000, 5000, 1, (1000, 10_000), (1000, 10_000), 5000, 10_000)


class Workshop:
    """The database and the folder of a run, and the numbering of its jobs."""

    def __init__(self, server: PrivateServer, folder: Path, tools: Path) -> None:
        self._server = server
        self._folder = folder
        self._tools = tools
        self._numbers = itertools.count()

    def sandbox(self, *, latency_ms: float, limits: str) -> AbstractContextManager[str]:
        """Run a sandbox; give its URL."""
        log = self._folder / f"sandbox-{next(self._numbers):03d}.log"
        return sandbox.running(log, latency_ms=latency_ms, limits=limits)

    def measure(self, contender: Contender, url: str, *, limited: bool) -> dict[str, Any]:
        """Empty the sandbox and run the contender against it, with a new ledger."""
        sandbox.reset(url)
        job = self.job(contender, url, limited=limited)
        result = measure(contender, job, self.environment(job))
        print(f"  {contender.name}: {result['rows_per_second']:,.1f} rows/s", file=sys.stderr, flush=True)
        return result

    def job(self, contender: Contender, url: str, *, limited: bool) -> Job:
        """Return a new job for the contender, with a new ledger."""
        return Job(
            url,
            str(self._server.folder),
            str(self._folder / f"job-{next(self._numbers):03d}"),
            contender.rows,
            contender.in_flight,
            limited,
            contender.processes,
            self._new_ledger() if contender.mysql_ledger else "",
        )

    def environment(self, job: Job) -> dict[str, str]:
        """Return the environment of the contender that does the job."""
        return environment(self._folder / "airflow", job, self._server)

    def prepare_airflow(self) -> None:
        """Create the metadata database."""
        job = Job("http://127.0.0.1", str(self._server.folder), str(self._folder), 0)
        environ = self.environment(job)
        with (self._folder / "airflow.log").open("w") as log:
            subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"], env=environ, stdout=log, stderr=log, check=True
            )

    def drt(self) -> Path:
        """Return the program drt, installed when it is not there."""
        return self._peer("drt", peer_environment.DRT) / "drt"

    def customerio_sdk(self) -> Path:
        """Return the interpreter that has Customer.io's own SDK, installed when it is not there."""
        return self._peer("customerio-sdk", peer_environment.CUSTOMERIO_SDK) / "python"

    def _peer(self, name: str, requirements: Path) -> Path:
        return peer_environment.installed(self._server.folder.parent / name, requirements, self._tools)

    def _new_ledger(self) -> str:
        with closing(self._server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("DROP DATABASE IF EXISTS benchmark_ledger")
            cursor.execute("CREATE DATABASE benchmark_ledger")
            cursor.execute(f"CREATE USER IF NOT EXISTS ledger@'{HOST}' IDENTIFIED BY 'of-the-benchmarks'")
            cursor.execute(f"GRANT ALL ON benchmark_ledger.* TO ledger@'{HOST}'")
        return f"mysql://ledger:of-the-benchmarks@{HOST}:{self._server.port}/benchmark_ledger"


def script(workshop: Workshop, plan: Plan) -> list[dict[str, Any]]:
    """Measure call by call beside a script and HttpOperator, against the published limits and 50 ms latency."""
    contenders = [
        Contender(SCRIPT, ("benchmarks.script",), plan.script_rows),
        Contender("script, requests.Session", ("benchmarks.script", "session"), plan.script_rows),
        Contender("HttpOperator mapped per row", ("benchmarks.dag_run", "http_per_row", "rows"), plan.http_rows),
        Contender("ours", ("benchmarks.ours",), plan.our_rows),
        Contender("ours, as a DAG", ("benchmarks.dag_run", "batches", "row_limit"), plan.our_rows),
    ]
    workshop.prepare_airflow()
    with workshop.sandbox(latency_ms=LATENCY_MS, limits="published") as url:
        return _in_turn(workshop, contenders, url, plan.repeats, limited=True)


def limits(workshop: Workshop, plan: Plan) -> list[dict[str, Any]]:
    """Measure bulk calls against the published limits and 50 ms latency, once: chance hardly matters here."""
    contender = Contender("ours, in bulk", ("benchmarks.ours", BULK), plan.limited_rows, BATCHES_AT_ONCE)
    workshop.prepare_airflow()
    with workshop.sandbox(latency_ms=LATENCY_MS, limits="published") as url:
        return [workshop.measure(contender, url, limited=True)]


def unlimited(workshop: Workshop, plan: Plan) -> list[dict[str, Any]]:
    """Measure bulk calls without limits beside a script, drt-core and a bare loader, with 50 ms latency."""
    rows = plan.unlimited_rows
    drt = str(workshop.drt())
    contenders = [
        Contender(SCRIPT, ("benchmarks.script",), plan.script_rows),
        Contender(DRT, ("benchmarks.drt_peer", drt, "1"), rows),
        Contender(f"{DRT}, 2 threads", ("benchmarks.drt_peer", drt, "2"), rows),
        Contender(BARE, ("benchmarks.bare_loader",), rows),
        Contender(UNLEDGERED, ("benchmarks.ours", BULK, UNRECORDED), rows, BATCHES_AT_ONCE),
        Contender(WITH_SQLITE, ("benchmarks.ours", BULK), rows, BATCHES_AT_ONCE),
        Contender(WITH_MYSQL, ("benchmarks.ours", BULK), rows, BATCHES_AT_ONCE, mysql_ledger=True),
    ]
    workshop.prepare_airflow()
    with workshop.sandbox(latency_ms=LATENCY_MS, limits="off") as url:
        return _in_turn(workshop, contenders, url, plan.repeats, limited=False)


def growth(workshop: Workshop, plan: Plan) -> list[dict[str, Any]]:
    """Measure time and peak memory of the three steps for each number of rows, in bulk, without limits and latency."""
    contender = Contender("extract, export_csv, deliver", ("benchmarks.memory", BULK), 0)
    with workshop.sandbox(latency_ms=0, limits="off") as url:
        return [workshop.measure(replace(contender, rows=rows), url, limited=False) for rows in plan.growing_rows]


def changed(workshop: Workshop, plan: Plan) -> list[dict[str, Any]]:
    """Measure a full send and then one of what changed, at the published limits and 50 ms latency."""
    contender = Contender("changed only", ("benchmarks.changed",), 0)
    with workshop.sandbox(latency_ms=LATENCY_MS, limits="published") as url:
        return [workshop.measure(replace(contender, rows=rows), url, limited=True) for rows in plan.changed_rows]


def _in_turn(
    workshop: Workshop, contenders: Sequence[Contender], url: str, rounds: int, *, limited: bool
) -> list[dict[str, Any]]:
    return [workshop.measure(contender, url, limited=limited) for _ in range(rounds) for contender in contenders]
