"""What Airflow takes in place of its own settings: it imports a module of this name and reads `__all__`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

__all__ = ["create_metadata_engine"]


def create_metadata_engine(
    sql_alchemy_conn: str, *, engine_args: Mapping[str, Any], connect_args: Mapping[str, Any]
) -> Engine:
    """Return the engine of the metadata database, in which a transaction with a savepoint may write on SQLite.

    SQLite begins a transaction at its first savepoint, and refuses the write of one that has read before another
    process wrote: "database is locked", at once, however long it might wait. Airflow creates the runs of a backfill
    so. Taking the lock for writing before the savepoint makes such transactions wait for each other instead.
    """
    engine = create_engine(sql_alchemy_conn, connect_args=dict(connect_args), **engine_args)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "savepoint", _take_write_lock)
    return engine


def _take_write_lock(connection: Connection, _name: str | None) -> None:
    driver = connection.connection.driver_connection
    if driver is not None and not driver.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
