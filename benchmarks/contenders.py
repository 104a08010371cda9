"""Running one contender in a process of its own, and checking that every row arrived."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import customerio_sync
from benchmarks.job import API_KEY, HASH_KEY, Job
from benchmarks.sandbox import counts
from devstack.database import PrivateServer

PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 1024**2
SECONDS_BETWEEN_SAMPLES = 0.05


@dataclass(frozen=True)
class Contender:
    """Its line in the table, the module with the further arguments it is run by, and what its job says."""

    name: str
    command: tuple[str, ...]
    rows: int
    processes: int = 1
    in_flight: int = 100
    mysql_ledger: bool = False


def measure(contender: Contender, job: Job, environ: Mapping[str, str]) -> dict[str, Any]:
    """Run the contender; return what it measured and what the sandbox saw of it.

    `lost` is how many users and events are missing. Raises RuntimeError with the path of the log when it failed.
    """
    result = run(contender, job, environ)
    seen = counts(job.url)
    return {**result, "sandbox": seen, "lost": 2 * job.rows - seen["users"] - seen["events"]}


def run(contender: Contender, job: Job, environ: Mapping[str, str]) -> dict[str, Any]:
    """Run the contender; return what it measured. Raises RuntimeError with the path of the log when it failed."""
    sampled = _run(command(contender, job), Path(job.folder), environ)
    measured = json.loads((Path(job.folder) / "result.json").read_text(encoding="utf-8"))
    return {
        "contender": contender.name,
        "rows": job.rows,
        "rows_per_second": job.rows / measured["seconds"],
        **measured,
        "sampled_peak_mib": sampled,
    }


def command(contender: Contender, job: Job) -> list[str]:
    """Return the command that runs the contender, and give it the job."""
    module, *arguments = contender.command
    return [sys.executable, "-m", module, *job.give(), *arguments]


def _run(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> float:
    """Run to the end, progress on our stderr; return the largest resident set seen, in MiB."""
    peak = 0.0
    with (folder / "output.log").open("w") as log, subprocess.Popen(command, env=environ, stdout=log) as child:
        try:
            while child.poll() is None:
                peak = max(peak, resident_mib(child.pid))
                time.sleep(SECONDS_BETWEEN_SAMPLES)
        finally:
            child.terminate()
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(command[2:3])} ended with code {child.returncode}; its output: {log.name}")
    return peak


def resident_mib(pid: int) -> float:
    """Return the resident set of a process; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB
    except (OSError, IndexError):
        return 0.0


def environment(airflow: Path, job: Job, server: PrivateServer) -> dict[str, str]:
    """Return the environment of the contenders: an Airflow of its own in `airflow`, nothing inherited from another."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    extra = {"requests_in_flight": job.in_flight}
    iterable = {"conn_type": "iterable", "host": job.url, "password": API_KEY, "extra": extra}
    customerio = iterable | {"conn_type": "customerio", "password": customerio_sync.API_KEY}
    http = {"conn_type": "http", "host": job.url, "extra": {"Api-Key": API_KEY, "Content-Type": "application/json"}}
    ledger = {"AIRFLOW_CONN_REVERSE_ETL_LEDGER": job.ledger} if job.ledger else {}
    return inherited | {
        "AIRFLOW_HOME": str(airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).with_name("dags")),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(airflow / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__REVERSE_ETL__STAGING_PATH": f"file://{airflow}/staging",
        "AIRFLOW__REVERSE_ETL__OUTPUT_PATH": f"file://{airflow}/output",
        "AIRFLOW__REVERSE_ETL__LEDGER_PATH": f"{job.folder}/ledger.db",
        "AIRFLOW__REVERSE_ETL__HASH_KEY": HASH_KEY,
        "AIRFLOW_CONN_MYSQL_DEFAULT": json.dumps(server.airflow_connection()),
        "AIRFLOW_CONN_HTTP_DEFAULT": json.dumps(http),
        "AIRFLOW_CONN_ITERABLE_DEFAULT": json.dumps(iterable),
        "AIRFLOW_CONN_CUSTOMERIO_DEFAULT": json.dumps(customerio),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        **ledger,
    }
