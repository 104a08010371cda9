"""The three parts of a run: speed under the published limits, speed without limits, memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import sandbox
from benchmarks.contenders import Contender, environment, measure
from benchmarks.job import Job
from benchmarks.sync import BULK
from devstack.database import PrivateServer

LATENCY_MS = 50
IN_FLIGHT = 100


@dataclass(frozen=True)
class Plan:
    """How much is measured: rows of each contender, repetitions of the speed measures, rows of the memory runs."""

    script_rows: int = 100
    http_rows: int = 30
    our_rows: int = 15_000
    bulk_rows: int = 50_000
    repeats: int = 3
    memory_rows: tuple[int, ...] = (10_000, 1_000_000)

    def seconds(self, parts: Iterable[str]) -> float:
        """Return roughly how long the parts take, from rates seen on two cores."""
        speed = 2 * self.script_rows / 9 + self.http_rows + 40 + 2 * self.our_rows / 490 + self.bulk_rows / 4500
        ceiling = 3 * self.our_rows / 900 + 15
        memory = sum(self.memory_rows) / 1500 + 60
        costs = {"speed": self.repeats * speed, "ceiling": self.repeats * ceiling, "memory": memory}
        return sum(costs[part] for part in parts)


QUICK = Plan(script_rows=10, http_rows=3, our_rows=1500, bulk_rows=5000, repeats=1, memory_rows=(1000, 10_000))


class Workshop:
    """The database and the folder of a run, and the numbering of its jobs."""

    def __init__(self, server: PrivateServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._numbers = itertools.count()

    def sandbox(self, *, latency_ms: float, limits: str) -> AbstractContextManager[str]:
        """Run a sandbox; give its URL."""
        log = self._folder / f"sandbox-{next(self._numbers):03d}.log"
        return sandbox.running(log, latency_ms=latency_ms, limits=limits)

    def measure(self, contender: Contender, url: str, *, in_flight: int = IN_FLIGHT, limited: bool) -> dict[str, Any]:
        """Empty the sandbox and run the contender against it."""
        sandbox.reset(url)
        folder = self._folder / f"job-{next(self._numbers):03d}"
        job = Job(url, str(self._server.folder), str(folder), contender.rows, in_flight, limited, contender.processes)
        environ = environment(self._folder / "airflow", url, self._server, in_flight)
        result = measure(contender, job, environ)
        print(f"  {contender.name}: {result['rows_per_second']:,.1f} rows/s", file=sys.stderr, flush=True)
        return result

    def prepare_airflow(self) -> None:
        """Create the metadata database."""
        environ = environment(self._folder / "airflow", "http://127.0.0.1", self._server, IN_FLIGHT)
        with (self._folder / "airflow.log").open("w") as log:
            subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"], env=environ, stdout=log, stderr=log, check=True
            )


def speed(workshop: Workshop, plan: Plan) -> list[dict[str, Any]]:
    """Measure all contenders in turn, as often as planned, against the published limits and 50 ms latency."""
    contenders = [
        Contender("script, requests.post", ("benchmarks.script",), plan.script_rows),
        Contender("script, requests.Session", ("benchmarks.script", "session"), plan.script_rows),
        Contender("HttpOperator mapped per row", ("benchmarks.dag_run", "http_per_row", "rows"), plan.http_rows),
        Contender("ours", ("benchmarks.ours",), plan.our_rows),
        Contender("ours, in bulk", ("benchmarks.ours", BULK), plan.bulk_rows),
        Contender("ours, as a DAG", ("benchmarks.dag_run", "batches", "row_limit"), plan.our_rows),
    ]
    workshop.prepare_airflow()
    with workshop.sandbox(latency_ms=LATENCY_MS, limits="published") as url:
        return [
            workshop.measure(contender, url, limited=True) for _round in range(plan.repeats) for contender in contenders
        ]


def ceiling(workshop: Workshop, plan: Plan) -> list[dict[str, Any]]:
    """Measure ours without any limit: what the engine can do on this machine, the sandbox taking its share of it."""
    results: list[dict[str, Any]] = []
    for latency_ms, in_flight in ((0, IN_FLIGHT), (LATENCY_MS, IN_FLIGHT), (LATENCY_MS, 4 * IN_FLIGHT)):
        name = f"ours, {latency_ms} ms, {in_flight} in flight"
        contender = Contender(name, ("benchmarks.ours",), plan.our_rows)
        with workshop.sandbox(latency_ms=latency_ms, limits="off") as url:
            results += [
                workshop.measure(contender, url, in_flight=in_flight, limited=False) for _round in range(plan.repeats)
            ]
    return results


def memory(workshop: Workshop, plan: Plan) -> list[dict[str, Any]]:
    """Measure the peak memory of the three steps for each number of rows, without limits and latency."""
    contender = Contender("extract, export_csv, deliver", ("benchmarks.memory",), 0)
    with workshop.sandbox(latency_ms=0, limits="off") as url:
        return [workshop.measure(replace(contender, rows=rows), url, limited=False) for rows in plan.memory_rows]
