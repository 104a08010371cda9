"""A database per test on the session's server, and folders on several kinds of storage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from upath import UPath
from upath.extensions import ProxyUPath

from devstack.database import PrivateServer
from reverse_etl.staging.files import StagingPath
from tests.database import Connect, own_database


@pytest.fixture
def connect(server: PrivateServer) -> Iterator[Connect]:
    with own_database(server) as connect:
        yield connect


@pytest.fixture
def folder(tmp_path: Path) -> StagingPath:
    return UPath(tmp_path / "staging")


@pytest.fixture(params=["local path", "file URL", "memory", "proxy as in Airflow"])
def any_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StagingPath]:
    name = uuid.uuid4().hex
    kinds: dict[str, StagingPath] = {
        "local path": UPath(tmp_path / name),
        "file URL": UPath(f"file://{tmp_path}/{name}"),
        "memory": UPath(f"memory://{name}/run"),
        "proxy as in Airflow": ProxyUPath(f"memory://{name}/run"),
    }
    folder = kinds[request.param]
    yield folder
    if folder.fs.exists(folder.path):
        folder.fs.rm(folder.path, recursive=True)
