"""Beside Customer.io's own SDK: speed, memory, and what arrives when something goes wrong.

A row is two messages, an identify and a track.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import sandbox
from benchmarks.contenders import Contender, command, run
from benchmarks.job import Job
from benchmarks.parts import BATCHES_AT_ONCE, LATENCY_MS, Plan, Workshop
from benchmarks.sync import CUSTOMERIO
from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.schema import OUTCOME_NUMBERS

OURS = "ours, ledger in SQLite"
PLAIN = "our client, batch, no ledger"
DEFAULTS = "SDK, defaults"
BEST = "SDK, best settings"
CARELESS = "SDK, defaults, no flush"

BEST_SETTINGS = {"thread": 4, "upload_size": 900}
"""The fastest of 12 settings tried, with 1 to 16 threads and 100 to 900 messages per request."""

FAULTS = [
    {"kind": "status", "status": status, "path": "/v1/batch", "probability": 0.01, "seed": seed}
    for seed, status in enumerate((429, 503), start=1)
]
KILLED_AFTER_SHARE = 0.5
ARRIVES_WITHIN_SECONDS = 1.0
STARTS_WITHIN_SECONDS = 60.0


def customerio(workshop: Workshop, plan: Plan) -> list[dict[str, Any]]:
    """Measure all but memory, each result with the `measure` it belongs to."""
    workshop.prepare_airflow()
    python = str(workshop.customerio_sdk())
    slow = _sdk(DEFAULTS, python, "careful", {}, plan.customerio_rows // 10)
    fast = _sdk(BEST, python, "careful", BEST_SETTINGS, plan.customerio_rows)
    plain = Contender(PLAIN, ("benchmarks.plain_client",), plan.customerio_rows)
    ours = Contender(OURS, ("benchmarks.ours", CUSTOMERIO), plan.customerio_rows, BATCHES_AT_ONCE)
    careless = _sdk(CARELESS, python, "careless", {}, plan.customerio_rows // 10)
    with workshop.sandbox(latency_ms=LATENCY_MS, limits="off") as url:
        bench = Bench(workshop, url)
        results = [
            bench.measure("speed", contender) for _ in range(plan.repeats) for contender in (slow, fast, plain, ours)
        ]
        results.append(bench.measure("exit", careless))
        results += [bench.killed(contender) for contender in (slow, fast, ours)]
        results += [bench.measure("faults", contender, FAULTS) for contender in (slow, fast, ours)]
    return results


def customerio_memory(workshop: Workshop, plan: Plan) -> list[dict[str, Any]]:
    """Measure the peak memory of a million messages."""
    workshop.prepare_airflow()
    fast = _sdk(BEST, str(workshop.customerio_sdk()), "careful", BEST_SETTINGS, plan.customerio_memory_rows)
    ours = Contender(OURS, ("benchmarks.ours", CUSTOMERIO), plan.customerio_memory_rows, BATCHES_AT_ONCE)
    with workshop.sandbox(latency_ms=LATENCY_MS, limits="off") as url:
        bench = Bench(workshop, url)
        return [bench.measure("memory", contender) for contender in (fast, ours)]


def _sdk(name: str, python: str, manner: str, settings: dict[str, int], rows: int) -> Contender:
    return Contender(name, ("benchmarks.sdk_peer", python, manner, json.dumps(settings)), rows)


class Bench:
    """Runs contenders against one sandbox."""

    def __init__(self, workshop: Workshop, url: str) -> None:
        self._workshop = workshop
        self._url = url

    def measure(self, measure: str, contender: Contender, faults: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
        """Run the contender to its end."""
        job = self._fresh(contender)
        sandbox.injure(self._url, faults)
        return self._result(measure, contender, job)

    def killed(self, contender: Contender) -> dict[str, Any]:
        """End the contender by SIGTERM when half of its messages are there, then run the same job again.

        `claimed` are the messages that count as done when it is killed: those the SDK has accepted, and those our
        ledger says were delivered. `arrived` are those the sandbox had then.
        """
        job = self._fresh(contender)
        claimed = self._kill(contender, job)
        seen = sandbox.customerio_counts(self._url)
        arrived = seen["people"] + seen["events"]
        return {**self._result("sigterm", contender, job), "claimed": claimed, "arrived": arrived}

    def _fresh(self, contender: Contender) -> Job:
        sandbox.reset(self._url)
        return self._workshop.job(contender, self._url, limited=True)

    def _result(self, measure: str, contender: Contender, job: Job) -> dict[str, Any]:
        result = run(contender, job, self._workshop.environment(job))
        seen = sandbox.customerio_counts(self._url)
        result |= {
            "measure": measure,
            "messages_per_second": 2 * result["rows_per_second"],
            "cpu_microseconds_per_message": result["cpu_seconds"] / (2 * job.rows) * 1e6,
            "sandbox": seen,
            "lost": job.rows - seen["people"] + max(0, job.rows - seen["events"]),
            "doubled": max(0, seen["events"] - job.rows),
        }
        told = f"{contender.name}: {result['messages_per_second']:,.0f} messages/s"
        print(f"  {measure}, {told}", file=sys.stderr, flush=True)
        return result

    def _kill(self, contender: Contender, job: Job) -> int:
        """Kill the whole process group, as a container does; return what the contender claims by then."""
        wanted = 2 * job.rows * KILLED_AFTER_SHARE
        with (Path(job.folder).with_suffix(".log")).open("w") as log:
            child = subprocess.Popen(
                command(contender, job),
                env=self._workshop.environment(job),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                _wait(lambda: self._arrived() >= wanted or child.poll() is not None)
            finally:
                os.killpg(child.pid, signal.SIGTERM)
                child.wait()
        time.sleep(ARRIVES_WITHIN_SECONDS)
        return _claimed(Path(job.folder))

    def _arrived(self) -> int:
        messages = sandbox.call(f"{self._url}/sandbox/customerio/stats", "GET")["messages"]
        return sum(messages.values())


def _wait(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise RuntimeError("the contender to be killed did not send half of its messages in time")
        time.sleep(0.02)


def _claimed(folder: Path) -> int:
    accepted = folder / "accepted"
    if accepted.exists():
        return int(struct.unpack("<q", accepted.read_bytes())[0])
    query = "SELECT COUNT(*) FROM outcomes WHERE outcome = ?"
    connection = sqlite3.connect(folder / "ledger.db")
    try:
        return int(connection.execute(query, [OUTCOME_NUMBERS[Outcome.DELIVERED]]).fetchone()[0])
    finally:
        connection.close()
