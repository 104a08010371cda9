"""Running queries on the source, and that of a sync for one day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.mysql.hooks.mysql import MySqlHook

if TYPE_CHECKING:
    from reverse_etl.run_day import RunDay
    from reverse_etl.staging.source import QueryStream
    from reverse_etl.sync import Sync


@contextmanager
def source_rows(sync: Sync, run_day: RunDay) -> Iterator[QueryStream]:
    """Run the sync's query for a day and its window, and check the columns of its result against the mapping.

    Raises SourceError, or ConfigurationError when the result does not fit the sync.
    """
    from reverse_etl.staging.columns import arrow_schema
    from reverse_etl.staging.kinds import column_kinds

    with running_query(sync.source_conn_id, sync.sql(), run_day.sql_parameters()) as stream:
        sync.check_columns(column_kinds(arrow_schema(stream.columns)))
        yield stream


@contextmanager
def running_query(conn_id: str, sql: str, parameters: Mapping[str, object]) -> Iterator[QueryStream]:
    """Run a query on an Airflow connection; raises SourceError."""
    from reverse_etl.staging.mysql_errors import source_errors
    from reverse_etl.staging.source import stream_query

    with source_errors("connecting to the database"):
        connection = MySqlHook(conn_id).get_conn()
    with stream_query(connection, sql, parameters) as stream:
        yield stream
