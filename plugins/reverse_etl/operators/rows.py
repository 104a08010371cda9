"""The rows of a run as batches that may be sent: keys that name one row each, people not to contact held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath

from reverse_etl.operators.base import hash_key
from reverse_etl.operators.consent import withhold

if TYPE_CHECKING:
    from reverse_etl.incremental import Span
    from reverse_etl.run_day import RunDay
    from reverse_etl.staging.batches import BatchRef
    from reverse_etl.staging.source import Row, RowStream
    from reverse_etl.sync import Sync


@dataclass(frozen=True, slots=True)
class Staged:
    """The batches; rows of people with one in an earlier batch, and rows held back, None without a consent gate."""

    batches: list[BatchRef]
    apart: int
    withheld: int | None


def stage_rows(
    sync: Sync,
    rows: RowStream,
    window: RunDay | Span,
    folder: ObjectStoragePath,
    *,
    batch_rows: int,
    row_limit: int | None = None,
) -> Staged:
    """Write the rows as batches into `folder`.

    Raises KeyRefused when a key is NULL or names several of the rows, ConfigurationError when the query of people not
    to contact does not fit the sync, and what the stream and the storage raise.
    """
    from reverse_etl.staging.batches import write_batches
    from reverse_etl.staging.keys import KeyWatch, PersonWatch

    keys = KeyWatch(rows.columns, sync.key)
    people = PersonWatch(rows.columns, sync.destination.identifiers())

    def watch(chunk: Sequence[Row]) -> None:
        keys(chunk)
        people(chunk)

    batches = write_batches(rows, folder, batch_rows=batch_rows, row_limit=row_limit, watch=watch)
    keys.check(batches, folder, hash_key())
    return Staged(batches, people.apart(batches), withhold(sync, window, batches, folder))
