"""The sandbox of the destination's API as a background process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from devstack import processes
from devstack.errors import DevstackError
from devstack.ports import port_is_free

CONNECTIONS: Mapping[str, Mapping[str, object]] = {
    "iterable_default": {"conn_type": "iterable", "password": "sandbox-server-key"},
    "customerio_default": {"conn_type": "customerio", "password": "sandbox-customerio-key"},
}
READY_LINE = re.compile(r"^sandbox ready on (http://127\.0\.0\.1:\d+)\s*$", re.MULTILINE)
STARTS_WITHIN_SECONDS = 60.0
STOPS_WITHIN_SECONDS = 30.0


class Sandbox:
    """`python -m reverse_etl.sandbox`, its state kept in `<folder>/sandbox.json`, its log in `<folder>/logs`.

    A sandbox that already runs for the folder is used and left running.
    """

    def __init__(self, folder: Path, *, env: Mapping[str, str] | None = None, outlive: bool = False) -> None:
        self.started_here = False
        self.log = folder / "logs" / "sandbox.log"
        self._state = folder / "sandbox.json"
        self._record = folder / "sandbox-process.json"
        self._port = folder / "sandbox-port"
        self._env = env
        self._outlive = outlive
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the running sandbox answers; empty when none runs."""
        running = processes.recall(self._record)
        return "" if running is None else str(running[1]["url"])

    @property
    def is_running(self) -> bool:
        """Whether a sandbox runs for the folder."""
        return processes.recall(self._record) is not None

    def start(self) -> None:
        """Start the sandbox, or join the one that runs, and wait until it is ready."""
        if self.is_running:
            return
        command: list[str | Path] = [sys.executable, "-m", "reverse_etl.sandbox", "--state", self._state]
        command += ["--port", str(self._port_of_before())]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        child = processes.launch(command, log=self.log, env=self._env, outlive=self._outlive)
        self._child = child
        self.started_here = True
        process = processes.ProcessId.of(child.pid)
        if process is not None:
            processes.record(self._record, process, url="")
        ready = processes.wait_until(lambda: bool(self._ready_url()) or child.poll() is not None, STARTS_WITHIN_SECONDS)
        url = self._ready_url()
        if process is None or not ready or not url:
            self.stop()
            raise DevstackError(f"The sandbox did not start. {_last_line(self.log)} (log: {self.log})")
        processes.record(self._record, process, url=url)
        self._port.write_text(url.rpartition(":")[2], encoding="utf-8")

    def _port_of_before(self) -> int:
        """Return the port of last time where it is free, else 0: to the ledger another address is another account."""
        try:
            port = int(self._port.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0
        return port if port_is_free(port) else 0

    def stop(self) -> None:
        """End the sandbox of the folder, whoever started it; do nothing when none runs."""
        running = processes.recall(self._record)
        if running is not None:
            processes.stop(running[0])
        if self._child is not None:
            self._child.wait(STOPS_WITHIN_SECONDS)
            self._child = None
        self.started_here = False

    def airflow_connection(self, conn_id: str) -> dict[str, object]:
        """Return the connection of that id in Airflow's JSON form."""
        return {**CONNECTIONS[conn_id], "host": self.url}

    def stats(self, platform: str = "") -> dict[str, int]:
        """Return how many users and events it holds, of Iterable unless named; empty when it does not answer."""
        try:
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with direct.open(f"{self.url}/sandbox/{platform}stats", timeout=10) as answer:
                stats: dict[str, int] = json.load(answer)
        except (OSError, ValueError):
            return {}
        return stats

    @contextmanager
    def refusing(self, events: Sequence[str]) -> Iterator[None]:
        """Have Iterable events of these names refused meanwhile, as in a project that does not allow them."""
        name = "disallowed_event_names"
        before = self._change_settings({})[name]
        self._change_settings({name: list(events)})
        try:
            yield
        finally:
            # One that has ended with its run refuses nothing.
            with suppress(DevstackError):
                self._change_settings({name: before})

    def _change_settings(self, changes: Mapping[str, object]) -> dict[str, object]:
        # The URL is ours, http on loopback.
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/sandbox/settings", data=json.dumps(changes).encode(), method="PUT"
        )
        try:
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with direct.open(request, timeout=10) as answer:
                settings: dict[str, object] = json.load(answer)
        except (OSError, ValueError) as error:
            raise DevstackError(f"The sandbox did not take the settings ({error}). (log: {self.log})") from None
        return settings

    def _ready_url(self) -> str:
        match = READY_LINE.search(self.log.read_text(encoding="utf-8", errors="replace"))
        return match[1] if match else ""


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"Its last words: {lines[-1]}" if lines else "It wrote nothing."
