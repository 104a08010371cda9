"""The consent gate of a sync: who must not be contacted is asked when the rows were read, for the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath

from reverse_etl.errors import ConfigurationError
from reverse_etl.operators.base import hash_key
from reverse_etl.operators.source import running_query, sql_parameters
from reverse_etl.sync import file_text

if TYPE_CHECKING:
    from reverse_etl.incremental import Span
    from reverse_etl.run_day import RunDay
    from reverse_etl.staging.batches import BatchRef
    from reverse_etl.staging.consent import Gate
    from reverse_etl.sync import Sync


def withhold(sync: Sync, window: RunDay | Span, batches: Sequence[BatchRef], folder: ObjectStoragePath) -> int | None:
    """Note beside each batch which of its rows must not be sent; return their number, None without a consent gate.

    Raises SourceError and StagingError, and ConfigurationError when the query of people does not fit the sync: then
    nothing may be sent.
    """
    from reverse_etl.staging.consent import write_withheld

    if sync.consent is None:
        return None
    return write_withheld(batches, folder, _gate(sync, window), sync.key, hash_key())


def withheld(sync: Sync, batch: BatchRef) -> frozenset[str]:
    """Return the hashed keys of the rows of a batch that must not be sent; raises StagingError."""
    from reverse_etl.staging.consent import read_withheld

    return read_withheld(ObjectStoragePath(batch.path)) if sync.consent else frozenset()


def _gate(sync: Sync, window: RunDay | Span) -> Gate:
    from reverse_etl.staging.consent import Gate, read_people

    consent = sync.consent
    if consent is None:
        raise ConfigurationError(f"sync {sync.name} has no consent")
    if consent.query is None:
        return Gate(consent.column, None, None)
    with running_query(
        consent.source_conn_id or sync.source_conn_id, file_text(consent.query), sql_parameters(sync, window)
    ) as stream:
        compared = consent.compared([column.name for column in stream.columns], sync.destination)
        return Gate(consent.column, read_people(stream), compared)
