"""A running Airflow whose task processes are killed: scheduler, LocalExecutor, retries, as `make up` starts them."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from devstack.ports import free_port
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from tests.conftest import ROOT
from tests.integration.conftest import LiveAirflow
from tests.reliability.live_dag import CONNECTION
from tests.reliability.source import DAY, Source

IN_FLIGHT = 10
"""Requests a deliver task has under way at most."""

DAG_FILE = '''"""A DAG of Airflow for the tests in tests/reliability."""

from pathlib import Path

from tests.reliability.live_dag import live_dag

dag = live_dag(Path(__file__).with_suffix(".sql"))
'''


class Live(LiveAirflow):
    """An Airflow whose runs are named by the source of their DAG."""

    def __init__(self, root: Path, port: int, sandbox_port: int) -> None:
        super().__init__(root, port)
        self._sandbox_port = sandbox_port

    @property
    def ledger_url(self) -> str:
        return f"sqlite:///{self.layout.airflow_home}/reverse_etl_ledger.db"

    @property
    def ledger_file(self) -> Path:
        return self.layout.airflow_home / "reverse_etl_ledger.db"

    def start(self, source: Source, **conf: object) -> str:
        body = {"logical_date": None, "conf": {"date": DAY, **conf}}
        run: str = self.call("POST", f"/api/v2/dags/{source.name}/dagRuns", body)["dag_run_id"]
        return run

    def ended(self, source: Source, run: str, *, within: float) -> str:
        return str(wait(lambda: self._end(source, run), within, f"the end of {source.name}"))

    def clear(self, source: Source, run: str) -> None:
        """Clear a run as a person does in the UI."""
        self.call("POST", f"{self._run(source, run)}/clear", {"dry_run": False})

    def tasks(self, source: Source, run: str, task: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", f"{self._run(source, run)}/taskInstances?limit=100")[
            "task_instances"
        ]
        return [instance for instance in found if instance["task_id"] == task]

    def process_of(self, source: Source, run: str, task: str) -> int | None:
        """Return the process of a task that runs."""
        running = [one for one in self.tasks(source, run, task) if one["state"] == "running" and one["pid"]]
        return int(running[0]["pid"]) if running else None

    def pushed(self, source: Source, run: str) -> dict[str, Any]:
        path = f"{self._run(source, run)}/taskInstances/report/xcomEntries/result?deserialize=false&stringify=false"
        value = self.call("GET", path)["value"]
        pushed: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
        return pushed

    def delivering(self) -> set[int]:
        """Return the task processes that have row results open and are connected to the sandbox."""
        return self._with_results_open() & self._connected()

    def _end(self, source: Source, run: str) -> str | None:
        state = str(self.call("GET", self._run(source, run))["state"])
        return state if state in ("success", "failed") else None

    @staticmethod
    def _run(source: Source, run: str) -> str:
        return f"/api/v2/dags/{source.name}/dagRuns/{quote(run)}"

    def _with_results_open(self) -> set[int]:
        wanted = re.compile(rf"{re.escape(str(self.layout.staging))}/.*/\.results-")
        return {pid for pid, target in _open_files() if wanted.match(target)}

    def _connected(self) -> set[int]:
        """Return the processes with an established connection to the sandbox, see proc_pid_net_tcp(5)."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        wanted = f":{self._sandbox_port:04X}"
        sockets = {f"socket:[{line[9]}]" for line in lines if line[2].endswith(wanted) and line[3] == "01"}
        return {pid for pid, target in _open_files() if target in sockets}


def _open_files() -> Iterator[tuple[int, str]]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # a process may end while it is looked at
            for link in (process / "fd").iterdir():
                with suppress(OSError):
                    yield int(process.name), str(link.readlink())


def wait(found: Callable[[], Any], within: float, what: str, *, pause: float = 0.2) -> Any:
    """Return the first value that is not None or empty; fail after `within` seconds."""
    end = time.monotonic() + within
    while not (value := found()):
        assert time.monotonic() < end, f"{what} did not come within {within:.0f} s"
        time.sleep(pause)
    return value


def kill_deliveries(live: Live, kills: int, draw: random.Random, *, within: float) -> list[float]:
    """Kill `kills` processes that are sending, each at a random moment; return how many seconds each had sent."""
    due: dict[int, tuple[float, float]] = {}
    lived: list[float] = []
    end = time.monotonic() + within
    while len(lived) < kills:
        assert time.monotonic() < end, f"only {len(lived)} kills within {within:.0f} s"
        sending = live.delivering()
        now = time.monotonic()
        for pid in sending - due.keys():
            due[pid] = (now, now + draw.uniform(0.0, 1.5))
        for pid in [pid for pid in sending if due[pid][1] <= now][: kills - len(lived)]:
            os.kill(pid, signal.SIGKILL)
            lived.append(now - due[pid][0])
            due[pid] = (now, float("inf"))
        time.sleep(0.03)
    return lived


def dag_files(sources: Sequence[Source]) -> dict[str, str]:
    """Return the files of a DAG for each of the sources, whose tables are made later."""
    queries = {f"{source.name}.sql": source.query(pause="(SELECT seconds FROM pace)") for source in sources}
    return queries | {f"{source.name}.py": DAG_FILE for source in sources}


@contextmanager
def started(root: Path, dags: Mapping[str, str], sandbox: SandboxServer) -> Iterator[Live]:
    """Start a live Airflow in `root`; `dags` are the files of its DAG folder by name."""
    for name in ("plugins", "include"):
        (root / name).symlink_to(ROOT / name)
    (root / "dags").mkdir()
    for name, text in dags.items():
        (root / "dags" / name).write_text(text, encoding="utf-8")
    connection = {
        "conn_type": "iterable",
        "host": sandbox.url,
        "password": SERVER_KEY,
        "extra": {"requests_in_flight": IN_FLIGHT},
    }
    own = {"PYTHONPATH": str(ROOT), f"AIRFLOW_CONN_{CONNECTION.upper()}": json.dumps(connection)}
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__CORE__")} | own
    env.pop("AIRFLOW_HOME", None)
    port = free_port()
    _devstack(root, env, "devstack.up", "--port", str(port))
    try:
        live = Live(root, port, sandbox.port)
        live.log_in()
        yield live
        live.session.close()
    finally:
        _devstack(root, env, "devstack.down")


def _devstack(root: Path, env: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
