"""`make airflow ARGS=...`: Airflow's own command line on the Airflow of `make up`."""

from __future__ import annotations

import os
import subprocess
import sys

from devstack.airflow_env import airflow_environment
from devstack.errors import DevstackError
from devstack.layout import Layout
from devstack.up import METADATA


def main() -> int:
    """Run `airflow` with the arguments given; return its exit code."""
    try:
        layout = Layout.here()
        if not (layout.airflow_home / METADATA).is_file():
            raise DevstackError("There is no Airflow yet: start it with make up.")
        env = airflow_environment(layout, os.environ, metadata=METADATA)
    except DevstackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return subprocess.run([sys.executable, "-m", "airflow", *sys.argv[1:]], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
