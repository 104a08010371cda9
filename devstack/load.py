"""`make load FILE=...`: run a SQL file on the private database of the project folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from devstack.errors import DevstackError
from devstack.interrupts import Interrupted, interruptible
from devstack.layout import Layout
from devstack.lock import exclusive
from devstack.services import Services


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the file; return 0 on success, 1 on failure, 128 + signal when interrupted."""
    parser = argparse.ArgumentParser(prog="make load")
    parser.add_argument("--file", type=Path, required=True)
    path: Path = parser.parse_args(arguments).file
    try:
        if not path.is_file():
            raise DevstackError(f"There is no SQL file {str(path)!r}; try FILE=docs/examples/signups/schema.sql.")
        with interruptible():
            load(Layout.here(), path)
    except DevstackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as interruption:
        return 128 + interruption.number
    print(f"{path} was run on the private database.")
    return 0


def load(layout: Layout, path: Path) -> None:
    """Run the file; the server is stopped afterwards unless it ran before. Raises DevstackError."""
    services = Services.chosen(layout, os.environ)
    if services.database is None:
        raise DevstackError("AIRFLOW_CONN_MYSQL_DEFAULT names your own database: run the file there.")
    layout.create()
    with exclusive(layout.local / "lock", "make load"), services:
        services.database.load_sql(path)


if __name__ == "__main__":
    sys.exit(main())
