"""DAG files of the tests' own, for what finds syncs in them."""

from __future__ import annotations

from pathlib import Path

from tests.operators.conftest import QUERY

TEXT = """
from pathlib import Path

from airflow.sdk import DAG

from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.mapping import Constant, Field
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.params import sync_params
from reverse_etl.sync import Sync

SYNC = Sync(
    name={name!r},
    query=Path({query!r}),
    key={key!r},
    destination=IterableDestination(
        calls="single",
        email="email",
        user=UserUpdate(
            (Field("first_name"), Field("candidate", kind="boolean"), Constant("recent_page_view", True))
        ),
        event=EventTrack("page_view", created_at="event_time", fields=(Field("page"),)),
    ),
)
with DAG({dag_id!r}, schedule=None, params=sync_params()):
    ExtractOperator(task_id="extract", sync=SYNC)
"""
"""Of its own imports only: the tests' conftest sets up another Airflow when a process imports it."""


def write_dag(
    folder: Path, name: str = "views", *, query: str = QUERY, key: tuple[str, ...] = ("view_id",), dag_id: str = ""
) -> Path:
    """Write a DAG with the sync `run_sync` has, or one like it; its query lies beside the folder, as there."""
    folder.mkdir(exist_ok=True)
    sql = folder.parent / f"{name}.sql"
    sql.write_text(query)
    path = folder / f"{dag_id or name}.py"
    path.write_text(TEXT.format(name=name, query=str(sql), key=key, dag_id=dag_id or name))
    return path
