from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from devstack.airflow_env import airflow_environment
from devstack.layout import Layout
from devstack.metadata import CONNECT_ARGS

WRITE = text("INSERT INTO runs VALUES ('by')")
READ = text("SELECT count(*) FROM runs")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    found = create_engine(f"sqlite:///{tmp_path / 'metadata.db'}", connect_args={**CONNECT_ARGS, "timeout": 0})
    with found.begin() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
        connection.execute(text("CREATE TABLE runs (name TEXT)"))
    yield found
    found.dispose()


def test_a_savepoint_writes_after_it_has_read_while_another_process_wants_to(engine: Engine) -> None:
    with engine.connect() as backfill, engine.connect() as scheduler:
        for written in (0, 2):
            with backfill.begin_nested():
                assert backfill.scalar(READ) == written
                with pytest.raises(OperationalError, match="database is locked"):
                    scheduler.execute(WRITE)
                scheduler.rollback()
                backfill.execute(WRITE)
            # Between two savepoints the others have their turn.
            scheduler.execute(WRITE)
            scheduler.commit()
        assert backfill.scalar(READ) == 4


def test_who_gets_no_lock_for_a_savepoint_can_go_on_later(engine: Engine) -> None:
    with engine.connect() as backfill, engine.connect() as scheduler:
        scheduler.execute(WRITE)
        with pytest.raises(OperationalError, match="database is locked"):
            backfill.begin_nested()
        scheduler.commit()
        backfill.rollback()
        with backfill.begin_nested():
            backfill.execute(WRITE)
        assert scheduler.scalar(READ) == 2


def test_a_savepoint_rolled_back_takes_only_what_came_after_it(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(WRITE)
        with connection.begin_nested() as savepoint:
            connection.execute(WRITE)
            savepoint.rollback()
        connection.commit()
        assert connection.scalar(READ) == 1


@pytest.mark.integration
def test_airflow_connects_so(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    script = "from airflow import settings; print(type(settings.engine.raw_connection().driver_connection).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=airflow_environment(layout, os.environ, metadata="metadata.db"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "MetadataConnection"
