"""The sandbox as a process of its own, and what it counted."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devstack import processes

READY = re.compile(r"^sandbox ready on (\S+)$", re.MULTILINE)
STARTS_WITHIN_SECONDS = 30.0


@contextmanager
def running(log: Path, *, latency_ms: float, limits: str) -> Iterator[str]:
    """Run a sandbox; give its URL."""
    command = [sys.executable, "-m", "reverse_etl.sandbox", "--port", "0"]
    child = processes.launch([*command, "--latency-ms", str(latency_ms), "--limits", limits], log=log)
    try:
        processes.wait_until(lambda: bool(READY.search(log.read_text())), STARTS_WITHIN_SECONDS)
        ready = READY.search(log.read_text())
        if ready is None:
            raise RuntimeError(f"the sandbox did not start; its log: {log}")
        yield ready[1]
    finally:
        child.terminate()
        child.wait()


def reset(url: str) -> None:
    """Empty it; it keeps users and events, but no bodies, which would take its time and memory from all alike."""
    call(f"{url}/sandbox/reset", "POST")
    call(f"{url}/sandbox/settings", "PUT", {"store": "counts"})


def counts(url: str) -> dict[str, Any]:
    """Return users, events, 429s and the most requests it saw at once and in one second."""
    stats = call(f"{url}/sandbox/stats", "GET")
    return {
        "users": stats["users"],
        "events": stats["events"],
        "throttled": stats["throttled"],
        "max_in_flight": stats["max_in_flight"],
        "max_in_one_second": stats["max_in_one_second"],
    }


def customerio_counts(url: str) -> dict[str, Any]:
    """Return what the Customer.io side has and what became of its messages, beside how many faults it injected."""
    stats = call(f"{url}/sandbox/customerio/stats", "GET")
    requests = call(f"{url}/sandbox/stats", "GET")["requests"].get("POST /v1/batch", {})
    return {
        "people": stats["people"],
        "events": stats["events"],
        "identified": stats["messages"].get("identify", 0),
        "duplicates": stats["duplicates"],
        "dropped": sum(stats["dropped"].values()),
        "requests": requests,
    }


def injure(url: str, faults: Sequence[dict[str, Any]]) -> None:
    """Put fault rules in force until the next reset."""
    call(f"{url}/sandbox/faults", "PUT", faults)


def call(url: str, method: str, body: object = None) -> dict[str, Any]:
    """Send JSON to the admin interface; return its answer."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=30) as answer:
        answered: dict[str, Any] = json.load(answer)
        return answered
