"""Running queries on the source, and that of a sync for what a run reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.mysql.hooks.mysql import MySqlHook

from reverse_etl.errors import ConfigurationError
from reverse_etl.incremental import PARAMETERS, Span, window_of
from reverse_etl.run_day import RunDay

if TYPE_CHECKING:
    from reverse_etl.staging.source import QueryStream
    from reverse_etl.sync import Sync


@contextmanager
def source_rows(sync: Sync, window: RunDay | Span) -> Iterator[QueryStream]:
    """Run the sync's query for a day and its window, and check the columns of its result against the mapping.

    A day means its rows to an incremental sync too; such a sync may also be given a span.

    Raises SourceError, or ConfigurationError when the result does not fit the sync.
    """
    from reverse_etl.staging.columns import arrow_schema
    from reverse_etl.staging.kinds import column_kinds

    with running_query(sync.source_conn_id, sync.sql(), sql_parameters(sync, window)) as stream:
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


def sql_parameters(sync: Sync, window: RunDay | Span) -> dict[str, object]:
    """Return what a sync's queries are given; raise ConfigurationError when its own does not use what it must."""
    if isinstance(window, RunDay):
        window = window_of(sync.incremental, window.day, window.window_days)
    parameters = dict(window.sql_parameters())
    if sync.incremental is not None:
        _check_uses_all(sync, sync.sql(), parameters)
    return parameters


def _check_uses_all(sync: Sync, sql: str, parameters: Mapping[str, object]) -> None:
    from reverse_etl.staging.statement import read_statement

    unused = [name for name in PARAMETERS if name not in read_statement(sql, parameters).placeholders]
    if unused:
        raise ConfigurationError(
            f"{sync.query.name} does not use {', '.join(f'%({name})s' for name in unused)}, which the query of an "
            f"incremental sync needs; see docs/incremental.md"
        )
