"""`make airflow ARGS=...`: Airflow's own command line on the Airflow of `make up`."""

from __future__ import annotations

import os
import sys
import warnings

from devstack.airflow_env import airflow_environment
from devstack.errors import DevstackError
from devstack.layout import Layout
from devstack.up import METADATA

LEVEL = "AIRFLOW__LOGGING__LOGGING_LEVEL"

NOISE = ("Could not import graphviz", "GitWildMatchPattern")
"""Warnings of every command: about pictures of DAGs, and about Airflow's own use of a package."""


def main() -> int:
    """Run `airflow` with the arguments given; return its exit code, 1 when it ended with an error."""
    try:
        layout = Layout.here()
        if not (layout.airflow_home / METADATA).is_file():
            raise DevstackError("There is no Airflow yet: start it with make up.")
        env = airflow_environment(layout, os.environ, metadata=METADATA)
    except DevstackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    os.environ.clear()
    os.environ.update(env)
    os.environ.setdefault(LEVEL, "WARNING")
    return _airflow()


def _airflow() -> int:
    """Run Airflow's command in this process: its errors become one line, where Airflow shows how it came to them."""
    for about in NOISE:
        warnings.filterwarnings("ignore", message=about)
    sys.argv[0] = "airflow"
    from airflow.__main__ import main as airflow

    try:
        airflow()  # type: ignore[no-untyped-call]  # Airflow's own
    except Exception as error:
        if os.environ[LEVEL] == "DEBUG":
            raise
        words = next(iter(str(error).strip().splitlines()), "")
        print(f"error: {words or type(error).__name__} ({LEVEL}=DEBUG shows more)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
