"""Who has come back to the source since rows were compared with it: their removal is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath

from reverse_etl.errors import SourceError, SourceUnavailable
from reverse_etl.operators.base import hash_key
from reverse_etl.operators.source import running_query, source_rows, sql_parameters
from reverse_etl.run_day import RunDay

if TYPE_CHECKING:
    from reverse_etl.ledger.records import RunRef
    from reverse_etl.operators.batch import Log
    from reverse_etl.staging.batches import BatchRef
    from reverse_etl.staging.source import Row, RowStream
    from reverse_etl.sync import Sync

RETURNED = "returned"
"""XCom key of a remove task: how many rows of its batch are in the source again."""


def leave_returned(sync: Sync, ref: RunRef, batch: BatchRef, log: Log) -> BatchRef:
    """Take the rows that are in the source by now out of a batch of rows to be removed; return what is left of it.

    Rows taken out by an earlier try stay out. Raises SourceError and StagingError: then nothing may be removed.
    """
    from reverse_etl.redaction import key_of
    from reverse_etl.staging.batches import keep_rows, read_rows

    path, hasher = ObjectStoragePath(batch.path), hash_key()
    keys = [key_of(row, sync.key) for rows in read_rows(path) for row in rows]
    hashes = [hasher(key) for key in keys]
    found = _found(sync, RunDay(ref.day, ref.window_days), dict(zip(hashes, keys, strict=True)), log)
    if found:
        log.info("rows that are in the source again, and are left alone: %s", len(found))
        keep_rows(path, [hashed not in found for hashed in hashes])
    return replace(batch, rows=len(hashes) - len(found))


def _found(sync: Sync, window: RunDay, keys: Mapping[str, Row], log: Log) -> set[str]:
    """Return the hashes of the `keys` that the source has."""
    try:
        return _looked_up(sync, window, keys)
    except SourceUnavailable:
        raise
    except SourceError as reason:
        log.info("All rows of the source are read, as keys cannot be looked up in it: %s", reason)
    with source_rows(sync, window) as stream:
        return _among(stream, sync, keys)


def _looked_up(sync: Sync, window: RunDay, keys: Mapping[str, Row]) -> set[str]:
    from reverse_etl.ledger.chunks import chunks
    from reverse_etl.staging.narrowed import KEYS_PER_STATEMENT, check_exact, narrowed

    found: set[str] = set()
    parameters = sql_parameters(sync, window)
    for some in chunks(list(keys.values()), KEYS_PER_STATEMENT):
        with running_query(sync.source_conn_id, *narrowed(sync.sql(), parameters, sync.key, some)) as stream:
            check_exact(stream.columns)
            found |= _among(stream, sync, keys)
    return found


def _among(stream: RowStream, sync: Sync, keys: Mapping[str, Row]) -> set[str]:
    from reverse_etl.staging.choosing import ChosenRows

    chosen = ChosenRows(stream, sync.key, keys, hash_key())
    for _ in chosen:
        continue
    return chosen.found
