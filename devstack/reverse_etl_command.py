"""`make reverse-etl ARGS=...`: the command reverse-etl on what make up or make run has sent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from devstack import run, up
from devstack.airflow_env import airflow_environment
from devstack.errors import DevstackError
from devstack.interrupts import Interrupted, interruptible
from devstack.layout import Layout
from devstack.lock import exclusive
from devstack.services import Services

WITH_SERVERS = frozenset({"check", "preview", "replay", "forget"})
"""The commands that need the database, and most of them the sandbox; the others only need the ledger."""


def main() -> int:
    """Run `reverse-etl` with the arguments given; return its exit code."""
    arguments = sys.argv[1:]
    try:
        layout = Layout.here()
        with interruptible(), _environment(layout, arguments) as env:
            command = [sys.executable, "-m", "reverse_etl", *arguments]
            return subprocess.run(command, env=env, check=False).returncode
    except DevstackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as interruption:
        return 128 + interruption.number


@contextmanager
def _environment(layout: Layout, arguments: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Give the variables of the Airflow that was used last, with its servers running where they are needed."""
    metadata = next((name for name in (up.METADATA, run.METADATA) if (layout.airflow_home / name).is_file()), None)
    if metadata is None:
        raise DevstackError("Nothing was sent from this folder yet: begin with make run or make up.")
    services = Services.chosen(layout, os.environ)
    if WITH_SERVERS.isdisjoint(arguments) or (services.are_running and metadata == up.METADATA):
        yield airflow_environment(layout, os.environ, metadata=metadata)
        return
    with exclusive(layout.local / "lock", "make reverse-etl"), services:
        yield airflow_environment(layout, os.environ, metadata=metadata, connections=services.connections())


if __name__ == "__main__":
    sys.exit(main())
