"""`make up`: leave the database, the sandbox and Airflow with its UI running in the background."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devstack import processes
from devstack.airflow_env import ADMIN, Ports, airflow_environment
from devstack.dag_run import last_line
from devstack.errors import DevstackError
from devstack.interrupts import Interrupted, interruptible
from devstack.layout import Layout
from devstack.lock import exclusive
from devstack.ports import free_port, port_is_free, port_number
from devstack.services import PLATFORMS, Services
from devstack.settings import MYSQL_VARIABLE, machine_secrets

METADATA = "make-up.db"
READY_WITHIN_SECONDS = 180.0
DAGS_READ_WITHIN_SECONDS = 60.0
STOPS_WITHIN_SECONDS = 30.0
COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def main(arguments: Sequence[str] | None = None) -> int:
    """Start everything; return 0 when it is ready."""
    parser = argparse.ArgumentParser(prog="make up")
    parser.add_argument("--port", type=port_number, default=8080)
    options = parser.parse_args(arguments)
    try:
        with interruptible():
            layout = Layout.here()
            layout.create()
            with exclusive(layout.local / "lock", "make up"):
                up(layout, options.port)
    except DevstackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as interruption:
        print(f"\nStopped by {interruption}; everything it had started is stopped.", file=sys.stderr)
        return 128 + interruption.number
    return 0


def up(layout: Layout, port: int) -> None:
    """Start what does not run yet and say how to use it."""
    services = Services.chosen(layout, os.environ, outlive=True)
    running = processes.recall(standalone_record(layout))
    if running is not None and services.are_running:
        print("Airflow is already running for this folder.")
        _tell(layout, services, str(running[1]["url"]))
        return
    if stop_airflow(layout):
        print("Airflow was running without its servers; it is started again.")
    if not port_is_free(port):
        raise DevstackError(
            f"Port {port} on 127.0.0.1 is taken by another program. Stop that program or choose another port: "
            f"make up PORT={port + 1}"
        )
    try:
        print("Starting the database, the sandbox and Airflow (about a minute)")
        services.start()
        url = _start_airflow(layout, services, port)
        _await_dags(layout, url)
    except BaseException:
        stop_airflow(layout)
        services.stop_started()
        raise
    _tell(layout, services, url)


def standalone_record(layout: Layout) -> Path:
    """Return the file that remembers the background Airflow of the folder."""
    return layout.airflow_home / "standalone.json"


def stop_airflow(layout: Layout) -> bool:
    """Stop the background Airflow of the folder with all its processes; return whether there was one.

    By SIGINT, because `airflow standalone` answers SIGTERM by dying without its children.
    """
    process = processes.recall_session(standalone_record(layout))
    if process is None:
        return False
    processes.stop_session(process, first=signal.SIGINT, patience=STOPS_WITHIN_SECONDS)
    return True


def _start_airflow(layout: Layout, services: Services, port: int) -> str:
    ports = Ports(ui=port, worker_logs=free_port(), triggerer_logs=free_port())
    env = airflow_environment(layout, os.environ, metadata=METADATA, ports=ports)
    embedded = services.are_all_embedded
    # Unpaused, a DAG runs for the latest day at once: harmless in the sandbox, not in somebody's project.
    env["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] = str(not embedded)
    log = airflow_log(layout)
    log.write_bytes(b"")
    _set_up(layout, services, env, pause=not embedded)
    child = processes.launch(
        [sys.executable, "-m", "airflow", "standalone"], log=log, env=env, cwd=layout.root, outlive=True
    )
    url = env["AIRFLOW__API__BASE_URL"]
    process = processes.ProcessId.of(child.pid)
    if process is not None:
        processes.record(standalone_record(layout), process, url=url)
    ready = processes.wait_until(lambda: child.poll() is not None or _is_healthy(url), READY_WITHIN_SECONDS, pause=0.5)
    if not ready or child.poll() is not None:
        words = last_line(log.read_text(encoding="utf-8", errors="replace"))
        trouble = "stopped while starting" if ready else f"was not ready within {READY_WITHIN_SECONDS:.0f} s"
        raise DevstackError(f"Airflow {trouble}. Its last words: {words} (log: {log})")
    return url


def _set_up(layout: Layout, services: Services, env: Mapping[str, str], *, pause: bool) -> None:
    """Write tables and connections; pause the DAGs when real servers take the place of embedded ones."""
    mode_file = layout.airflow_home / "up-mode"
    mode = "real" if pause else "embedded"
    changed = not mode_file.is_file() or mode_file.read_text(encoding="utf-8") != mode
    wanted = {"connections": services.connections(), "pause": pause and changed}
    with airflow_log(layout).open("ab") as log:
        answer = subprocess.run(
            [sys.executable, "-m", "devstack.airflow_setup"],
            input=json.dumps(wanted).encode(),
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(env),
            cwd=layout.root,
            check=False,
        )
    if answer.returncode != 0:
        words = last_line(airflow_log(layout).read_text(encoding="utf-8", errors="replace"))
        raise DevstackError(f"Airflow's metadata could not be prepared: {words} (log: {airflow_log(layout)})")
    mode_file.write_text(mode, encoding="utf-8")
    for conn_id in json.loads(answer.stdout)["kept"]:
        print(f"The connection {conn_id} was edited in the UI and is left as it is.")


def airflow_log(layout: Layout) -> Path:
    """Return the log of all components of the background Airflow."""
    return layout.logs / "airflow-standalone.log"


def _is_healthy(url: str) -> bool:
    """Whether all components say they are healthy."""
    health = _ask(f"{url}/api/v2/monitor/health")
    return all((health.get(name) or {}).get("status") == "healthy" for name in COMPONENTS)


def _await_dags(layout: Layout, url: str) -> None:
    """Wait until Airflow has read the DAG files, so that the UI is not empty when it is first looked at."""
    password = machine_secrets(layout.local / "secrets.json")["admin_password"]
    token = str(_ask(f"{url}/auth/token", {"username": ADMIN, "password": password}).get("access_token", ""))

    def listed() -> bool:
        return any(
            _ask(f"{url}/api/v2/{what}?limit=1", token=token).get("total_entries") for what in ("dags", "importErrors")
        )

    if not processes.wait_until(listed, DAGS_READ_WITHIN_SECONDS, pause=0.5):
        print(f"Airflow has not read the DAG files yet; if that lasts, see {airflow_log(layout)}.")


def _ask(url: str, body: Mapping[str, str] | None = None, token: str = "") -> dict[str, Any]:
    """Return the JSON object of Airflow's answer, empty when there is none; no proxy in between."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if body else None
    # The URL is ours, http on loopback.
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
            content: dict[str, Any] = json.load(answer)
    except (OSError, ValueError):
        return {}
    return content


def _tell(layout: Layout, services: Services, url: str) -> None:
    password = machine_secrets(layout.local / "secrets.json")["admin_password"]
    database = "a private database with the example data" if services.database else "your database"
    print(f"\nAirflow   {url}\nLogin     {ADMIN}\nPassword  {password}\n")
    print(f"mysql_default       {database}{_origin(MYSQL_VARIABLE, embedded=services.database is not None)}")
    for conn_id, variable in PLATFORMS.items():
        embedded = conn_id in services.sandboxed
        print(f"{conn_id:<20}{'the sandbox' if embedded else 'your own'}{_origin(variable, embedded=embedded)}")
    if services.sandbox is not None:
        print(f"sandbox             {services.sandbox.url}")
    print()
    if services.are_all_embedded:
        print("The DAGs are switched on: a run you trigger starts at once, and Airflow starts by itself")
        print("the run of the day that just ended. All of it goes to the sandbox. The example data is of")
        print("January 2026: trigger with the date 2026-01-13.")
    else:
        print("The DAGs are paused, because they would send to your own servers: switch one on in the UI.")
    print(f"\nLogs      {layout.short(layout.logs)}/ and {layout.short(layout.airflow_home)}/logs/")
    print("Commands  make airflow ARGS='dags list'")
    print("Stop      make down")


def _origin(variable: str, *, embedded: bool) -> str:
    return "" if embedded else f" (from {variable}; the UI does not list it)"


if __name__ == "__main__":
    sys.exit(main())
