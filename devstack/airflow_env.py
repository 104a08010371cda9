"""The environment Airflow runs in: everything inside the project's own `.local` folder."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devstack import processes
from devstack.layout import Layout
from devstack.settings import machine_secrets, user_environment

ADMIN = "admin"


@dataclass(frozen=True)
class Ports:
    """The TCP ports of `airflow standalone`: the UI and the two servers that hand out task logs."""

    ui: int
    worker_logs: int
    triggerer_logs: int


def airflow_environment(
    layout: Layout,
    environ: Mapping[str, str],
    *,
    metadata: str,
    connections: Mapping[str, Mapping[str, object]] | None = None,
    ports: Ports | None = None,
) -> dict[str, str]:
    """Return all variables of an Airflow process.

    `metadata` names the SQLite file of the metadata database: make run and make up have one each, because a
    scheduler would take up the runs of make run as its own. `connections` become AIRFLOW_CONN_* variables,
    unless the user has set them.
    """
    user = user_environment(layout, environ)
    own = _settings(layout, metadata)
    if ports is not None:
        own |= _server_settings(layout, ports)
    for conn_id, connection in (connections or {}).items():
        name = f"AIRFLOW_CONN_{conn_id.upper()}"
        user.setdefault(name, json.dumps(connection))
    defaults = {
        "AIRFLOW__REVERSE_ETL__STAGING_PATH": f"file://{layout.staging}",
        "AIRFLOW__REVERSE_ETL__OUTPUT_PATH": f"file://{layout.output}",
        "AIRFLOW__REVERSE_ETL__HASH_KEY": machine_secrets(layout.local / "secrets.json")["hash_key"],
    }
    return defaults | user | own


def _settings(layout: Layout, metadata: str) -> dict[str, str]:
    keys = machine_secrets(layout.local / "secrets.json")
    return {
        "AIRFLOW_HOME": str(layout.airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(layout.dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(layout.root / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # A new DAG file is found after seconds, not after five minutes.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
        # SQLite locks up under the default of 32.
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__FERNET_KEY": keys["fernet_key"],
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{layout.airflow_home / metadata}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "devstack.metadata.CONNECT_ARGS",
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt_secret"],
        "AIRFLOW__API__SECRET_KEY": keys["api_secret_key"],
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        # Where this package is, so that a child finds it from any folder.
        "PYTHONPATH": str(Path(__file__).absolute().parent.parent),
    }


def _server_settings(layout: Layout, ports: Ports) -> dict[str, str]:
    passwords = layout.airflow_home / "passwords.json"
    password = machine_secrets(layout.local / "secrets.json")["admin_password"]
    processes.write_private(passwords, json.dumps({ADMIN: password}))
    url = f"http://127.0.0.1:{ports.ui}"
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports.ui),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(ports.worker_logs),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports.triggerer_logs),
    }
