"""Moving the watermark of an incremental sync: never past a row that was not delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from reverse_etl.operators.base import hash_key
from reverse_etl.operators.ledger import open_ledger
from reverse_etl.operators.reading import reader_of

if TYPE_CHECKING:
    from reverse_etl.delivery.outcomes import RowResult
    from reverse_etl.incremental import Position
    from reverse_etl.staging.batches import BatchRef
    from reverse_etl.sync import Sync


class FirstUndelivered:
    """Finds the first row of a run that failed, in flat memory; `note` takes the results batch by batch.

    Refused rows do not count: they are in quarantine, from where they are sent again.
    """

    def __init__(self) -> None:
        self._batch: int | None = None
        self._keys: set[str] = set()

    def note(self, batch: int, result: RowResult) -> None:
        """Take the result of a row of a batch; batches come in their order."""
        from reverse_etl.delivery.outcomes import Outcome

        if result.outcome is Outcome.FAILED and self._batch in (None, batch):
            self._batch = batch
            self._keys.add(result.key)

    def place_before(self, sync: Sync, batches: Sequence[BatchRef]) -> Position | None:
        """Return the position of the last row before it, or of the last row of all; raises StagingError."""
        from reverse_etl.staging.ordered import place_before

        if sync.incremental is None or not batches:
            return None
        end = len(batches) if self._batch is None else self._batch + 1
        # The row before the first of a batch is in the batch before.
        near = [ObjectStoragePath(batch.path) for batch in batches[max(0, end - 2) : end]]
        return place_before(near, sync.incremental, sync.key, hash_key(), self._keys)


def move_watermark(sync: Sync, context: Mapping[str, Any], position: Position | None) -> bool:
    """Move the watermark to a row up to which the run has delivered everything; return whether it moved."""
    if position is None:
        return False
    with open_ledger() as ledger:
        return ledger.watermarks.move(reader_of(sync, context), position)
