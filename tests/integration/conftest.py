"""A live Airflow (`make up`) in a folder of its own, at debug level, shared by the tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from devstack.airflow_env import airflow_environment
from devstack.database import PrivateServer
from devstack.layout import Layout
from devstack.ports import free_port
from devstack.sandbox import Sandbox
from devstack.settings import machine_secrets
from tests.conftest import ROOT

DAG = "iterable_page_views"
METADATA = "make-up.db"


class LiveAirflow:
    """REST and command line of the running Airflow, and the servers beside it."""

    def __init__(self, root: Path, port: int) -> None:
        self.layout = Layout(root)
        self.url = f"http://127.0.0.1:{port}"
        self.session = requests.Session()
        self.database = PrivateServer(self.layout.database)
        self.database.start()  # joins the one make up has started
        self.sandbox = Sandbox(self.layout.local)

    def log_in(self) -> None:
        password = machine_secrets(self.layout.local / "secrets.json")["admin_password"]
        answer = self.session.post(
            f"{self.url}/auth/token", json={"username": "admin", "password": password}, timeout=30
        )
        answer.raise_for_status()
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        answer = self.session.request(method, f"{self.url}{path}", json=body, timeout=60)
        assert answer.ok, f"{answer.status_code} {answer.text}"
        return answer.json()

    def trigger(self, **body: object) -> str:
        run: str = self.call("POST", f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": None, **body})["dag_run_id"]
        return run

    def command(self, *arguments: str) -> str:
        env = airflow_environment(self.layout, os.environ, metadata=METADATA)
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", f"/api/v2/dags/{DAG}/dagRuns?limit=100")["dag_runs"]
        return found

    def end_of(self, run_id: str, *, within: float = 180) -> str:
        """Wait until the run has ended; return its state."""

        def state() -> str | None:
            found = str(self.call("GET", f"/api/v2/dags/{DAG}/dagRuns/{quote(run_id)}")["state"])
            return found if found in ("success", "failed") else None

        ended: str = wait_for(state, within=within)
        return ended

    def facts(self, run_id: str) -> dict[str, Any]:
        """Return what the extract task pushed about the run."""
        path = f"/api/v2/dags/{DAG}/dagRuns/{quote(run_id)}/taskInstances/extract/xcomEntries/run"
        value = self.call("GET", f"{path}?deserialize=false&stringify=false")["value"]
        facts: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
        return facts

    def day_before(self, run_id: str) -> str:
        """Return the day before the run was asked for, in UTC."""
        run = self.call("GET", f"/api/v2/dags/{DAG}/dagRuns/{quote(run_id)}")
        return (datetime.fromisoformat(run["queued_at"]).astimezone(UTC) - timedelta(days=1)).date().isoformat()

    def day_of(self, run_id: str) -> str:
        assert self.end_of(run_id) == "success"
        return str(self.facts(run_id)["day"])

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """Call the sandbox's own API."""
        answer = requests.request(method, f"{self.sandbox.url}{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()


def wait_for(found: Callable[[], Any], *, within: float, pause: float = 0.5) -> Any:
    """Return the first value that is not None or empty; fail after `within` seconds."""
    end = time.monotonic() + within
    while not (value := found()):
        assert time.monotonic() < end, f"nothing came within {within} s"
        time.sleep(pause)
    return value


def devstack(root: Path, *arguments: str) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT), "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"}
    for name in ("AIRFLOW_HOME", "AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__CORE__PLUGINS_FOLDER"):
        env.pop(name, None)
    command: Sequence[str] = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAirflow]:
    root = tmp_path_factory.mktemp("live")
    for name in ("dags", "plugins", "include"):
        (root / name).symlink_to(ROOT / name)
    port = free_port()
    devstack(root, "devstack.up", "--port", str(port))
    try:
        airflow = LiveAirflow(root, port)
        airflow.log_in()
        yield airflow
        airflow.session.close()
    finally:
        devstack(root, "devstack.down")
