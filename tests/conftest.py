"""One private database server for the session, and an Airflow that lives and dies with it.

The variables are set before anything imports Airflow, so that no test reads or writes the Airflow of whoever runs it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.database import PrivateServer
from tests.sharing import BySharedServers, longest_first

ROOT = Path(__file__).parents[1]
HOME = tempfile.mkdtemp(prefix="reverse-etl-tests-")

for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "CUSTOMERIO_", "ITERABLE_"))]:
    if "_LIVE_" not in name:
        del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": HOME,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__REVERSE_ETL__HASH_KEY": "a hash key for the tests",
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    with PrivateServer(tmp_path_factory.mktemp("database")) as started:
        yield started


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=longest_first)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySharedServers | None:
    return BySharedServers(config, log) if config.getvalue("dist") == "loadfile" else None
