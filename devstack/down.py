"""`make down`: stop what make up left running in this folder, and nothing else."""

from __future__ import annotations

import sys

from devstack.errors import DevstackError
from devstack.layout import Layout
from devstack.lock import exclusive
from devstack.services import Services
from devstack.up import stop_airflow


def main() -> int:
    """Stop everything and say what was stopped; it is fine when nothing runs."""
    try:
        layout = Layout.here()
        if not layout.local.is_dir():
            print("Nothing of this folder is running.")
            return 0
        with exclusive(layout.local / "lock", "make down"):
            stopped = down(layout)
    except DevstackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing of this folder is running.")
    return 0


def down(layout: Layout) -> list[str]:
    """Stop the processes of the folder, Airflow first, and return their names."""
    stopped = []
    if stop_airflow(layout):
        stopped.append("Airflow")
    services = Services.embedded(layout)
    for name, server in (("the sandbox", services.sandbox), ("the database", services.database)):
        if server is not None and server.is_running:
            server.stop()
            stopped.append(name)
    return stopped


if __name__ == "__main__":
    sys.exit(main())
