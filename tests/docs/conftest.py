"""The example sync after a run, and an Airflow whose commands and REST API a page's blocks are run against."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.database import PrivateServer
from devstack.ports import free_port
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from tests.conftest import ROOT
from tests.database import run as run_sql
from tests.operators.conftest import Finished, local, register

SIGNUPS = ROOT / "docs/examples/signups"
GOOD_DAY = "2026-01-13"
BAD_DAY = "2026-01-14"


@pytest.fixture(scope="session")
def metadata() -> None:
    """Make the metadata database of the session."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def platform() -> Iterator[SandboxServer]:
    with SandboxServer() as started:
        yield started


@dataclass(frozen=True)
class Signups:
    """What two runs of the example left: one of a good day, one of a day with a bad row."""

    good: Finished
    bad: Finished
    users: list[dict[str, Any]]
    events: list[dict[str, Any]]
    staging: Path

    def file(self, run: Finished, kind: str) -> Path:
        return local(run.result[kind])

    def batches(self, run: Finished) -> Path:
        return local(run.xcom("extract")[0]["path"]).parent


@pytest.fixture(scope="session")
def signups(
    metadata: None, server: PrivateServer, platform: SandboxServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Signups]:
    folder = tmp_path_factory.mktemp("signups")
    connection = {"conn_type": "iterable", "host": platform.url, "password": SERVER_KEY}
    platform.reset()
    server.load_sql(ROOT / "include/sql/schema.sql")
    server.load_sql(SIGNUPS / "schema.sql")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_ITERABLE_DEFAULT", json.dumps(connection))
        patch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(server.airflow_connection()))
        patch.setenv("AIRFLOW__REVERSE_ETL__STAGING_PATH", f"file://{folder}/staging")
        patch.setenv("AIRFLOW__REVERSE_ETL__OUTPUT_PATH", f"file://{folder}/output")

        good = run_example(SIGNUPS, "trial_signups", folder, date=GOOD_DAY)
        users, events = platform.users(), platform.events()
        bad = run_example(SIGNUPS, "trial_signups", folder, date=BAD_DAY)
    yield Signups(good, bad, users, events, folder / "staging")
    with closing(server.connect()) as connected, connected.cursor() as cursor:
        cursor.execute("DROP TABLE trials")


@pytest.fixture
def database(server: PrivateServer) -> Iterator[dict[str, object]]:
    """A database of its own with the trials: other tests of this folder share theirs."""
    name = f"trials_{uuid.uuid4().hex[:16]}"

    def administrator() -> Any:
        return server.connect("mysql")

    run_sql(
        administrator,
        f"CREATE DATABASE {name} CHARACTER SET utf8mb4",
        f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY 'a password'",
        f"GRANT ALL ON {name}.* TO {name}@'127.0.0.1'",
    )
    with closing(server.connect(name)) as connection, connection.cursor() as cursor:
        cursor.execute((SIGNUPS / "schema.sql").read_text(encoding="utf-8"))
        while cursor.nextset() is not None:
            pass
    yield server.airflow_connection() | {"login": name, "password": "a password", "schema": name}
    run_sql(administrator, f"DROP DATABASE {name}", f"DROP USER {name}@'127.0.0.1'")


def lead_to(
    patch: pytest.MonkeyPatch, folder: Path, platform: SandboxServer, source: Mapping[str, object], dags: Path
) -> None:
    """Make Airflow read the source and the DAG files, send to the platform, and keep everything else in the folder."""
    connection = {"conn_type": "iterable", "host": platform.url, "password": SERVER_KEY}
    patch.setenv("AIRFLOW_CONN_ITERABLE_DEFAULT", json.dumps(connection))
    patch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(source))
    patch.setenv("AIRFLOW__REVERSE_ETL__STAGING_PATH", f"file://{folder}/staging")
    patch.setenv("AIRFLOW__REVERSE_ETL__OUTPUT_PATH", f"file://{folder}/output")
    patch.setenv("AIRFLOW__REVERSE_ETL__LEDGER_PATH", f"{folder}/ledger.db")
    patch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(dags))


Bash = Callable[..., str]
Run = Callable[[str], str]


def run_example(dags: Path, dag_id: str, folder: Path, **params: object) -> Finished:
    """Run a DAG of an example, whose settings lead to `folder`, in this process."""
    from airflow.dag_processing.dagbag import DagBag

    # A bag of its own: the params of a run stay with the DAG object.
    bag = DagBag(str(dags))
    assert bag.import_errors == {}
    dag = bag.dags[dag_id]
    register(dag)
    return Finished(dag.test(run_conf=params or None), folder / "output")


def command_in(bash: Bash, folder: Path) -> Run:
    """Return a function that runs a block; `reverse-etl` is on the path as an installation would put it there."""
    script = folder / "bin" / "reverse-etl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m reverse_etl "$@"\n')
    script.chmod(0o755)
    return lambda text: bash(f'PATH="{script.parent}:$PATH"\n{text}')


@pytest.fixture(scope="session")
def bash() -> Bash:
    """Return a function that runs a block as a reader would, in the project's folder, and gives what it printed."""

    def run(script: str, environment: Mapping[str, str] | None = None, *, fails: bool = False) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env={**os.environ, "PATH": path, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout

    return run


class RestApi:
    """The REST API of the session's Airflow, with its Test button switched on."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    def call(self, method: str, path: str, body: object = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=30)


@pytest.fixture(scope="session")
def rest(metadata: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestApi]:
    """Start `airflow api-server`; whoever asks it for a token is an administrator."""
    port = free_port()
    log = tmp_path_factory.mktemp("api-server") / "log"
    environment = {
        **os.environ,
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret for the tests, as long as an HMAC of 512 bits wants it: sixty-four",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    }
    command = [sys.executable, "-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--workers", "1"], env=environment, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}"
        yield RestApi(url, _token(url, process, log))
    finally:
        process.terminate()
        process.wait(timeout=30)


def _token(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + 60
    while True:
        try:
            answer = requests.get(f"{url}/auth/token", timeout=5)
        except requests.ConnectionError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
            continue
        answer.raise_for_status()
        return str(answer.json()["access_token"])
