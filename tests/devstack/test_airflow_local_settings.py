from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from devstack.airflow_env import airflow_environment
from devstack.layout import Layout
from devstack.local_settings.airflow_local_settings import create_metadata_engine

WRITE = text("INSERT INTO runs VALUES ('by', 1)")
READ = text("SELECT count(*) FROM runs")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    found = create_metadata_engine(f"sqlite:///{tmp_path / 'metadata.db'}", engine_args={}, connect_args={"timeout": 0})
    with found.begin() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
        connection.execute(text("CREATE TABLE runs (name TEXT, day INTEGER)"))
    yield found
    found.dispose()


def test_a_transaction_with_a_savepoint_writes_after_it_has_read_while_another_process_wants_to(engine: Engine) -> None:
    with engine.connect() as backfill, engine.connect() as scheduler:
        with backfill.begin_nested():
            assert backfill.scalar(READ) == 0
            with pytest.raises(OperationalError, match="database is locked"):
                scheduler.execute(WRITE)
            scheduler.rollback()
            backfill.execute(WRITE)
        backfill.commit()
        scheduler.execute(WRITE)
        scheduler.commit()
        assert backfill.scalar(READ) == 2


def test_a_savepoint_rolled_back_takes_only_what_came_after_it(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(WRITE)
        with connection.begin_nested() as savepoint:
            connection.execute(WRITE)
            savepoint.rollback()
        connection.commit()
        assert connection.scalar(READ) == 1


@pytest.mark.integration
def test_airflow_opens_its_metadata_database_by_these_settings(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    script = "from airflow import settings; print(settings.create_metadata_engine.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=airflow_environment(layout, os.environ, metadata="metadata.db"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "airflow_local_settings"
