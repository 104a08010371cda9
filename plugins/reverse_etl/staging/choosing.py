"""Of the rows of a query only those whose hashed key is wanted, whatever the size of the source in flat memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from reverse_etl.redaction import KeyHasher
from reverse_etl.staging.columns import SourceColumn, arrow_schema, record_batch
from reverse_etl.staging.source import CHUNK_BYTES, Row, RowStream

ROWS_HELD = 1_000


class ChosenRows:
    """A RowStream over `stream` with the rows whose key has one of the hashes in `wanted`.

    `found` are the hashes seen so far. Raises what the stream raises, and SourceError for a key that does not fit the
    type its column was announced with.
    """

    def __init__(self, stream: RowStream, key: Sequence[str], wanted: Collection[str], hash_key: KeyHasher) -> None:
        self._stream = stream
        self._wanted = wanted
        self._hash_key = hash_key
        names = [column.name for column in stream.columns]
        self._places = [names.index(column) for column in key]
        self._schema = arrow_schema([stream.columns[place] for place in self._places])
        self.found: set[str] = set()

    @property
    def columns(self) -> tuple[SourceColumn, ...]:
        """The columns of the stream."""
        return self._stream.columns

    def __iter__(self) -> Iterator[tuple[Row, ...]]:
        """Yield chunks of chosen rows, at least one row each."""
        held: list[Row] = []
        held_bytes = 0
        for chunk in self._stream:
            for row, hashed in zip(chunk, self._hashes(chunk), strict=True):
                if hashed in self._wanted:
                    self.found.add(hashed)
                    held.append(row)
                    held_bytes += sum(len(value) for value in row if isinstance(value, str | bytes))
            if len(held) >= ROWS_HELD or held_bytes >= CHUNK_BYTES:
                yield tuple(held)
                held, held_bytes = [], 0
        if held:
            yield tuple(held)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _hashes(self, chunk: Sequence[Row]) -> Iterator[str]:
        """Yield the hashes delivery would give: of the values as a batch gives them back, not as the driver does."""
        keys = record_batch([tuple(row[place] for place in self._places) for row in chunk], self._schema)
        columns = [column.to_pylist() for column in keys.columns]
        return (self._hash_key(values) for values in zip(*columns, strict=True))
