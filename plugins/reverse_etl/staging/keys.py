"""Whether a key names one row: eight bytes of memory for each row, however long the keys are."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reverse_etl.errors import KeyRefused
from reverse_etl.redaction import KeyHasher
from reverse_etl.staging.batches import BatchRef, read_columns
from reverse_etl.staging.columns import SourceColumn
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.source import Row

KEYS_NAMED = 5
"""Hashed keys a message names of each kind."""

PAIRS_COMPARED = 100
"""Rows that are compared with an earlier one of the same digest: 64 bits may coincide, but not so often."""


class Digests:
    """64 bits for the text of each value: finds values that were there before.

    Texts differ where a character differs: `a` and `A` are two, whatever the collation of the database.
    """

    def __init__(self) -> None:
        self._digests = array("q")

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, texts: Iterable[str]) -> None:
        """Note the text of each row, in the order of the rows."""
        self._digests.extend(map(hash, texts))

    def repeated(self) -> tuple[pa.Array[Any], pa.Array[Any]]:
        """Return the places of rows whose text an earlier row had, and of such an earlier row for each."""
        digests: Any = pa.Array.from_buffers(pa.int64(), len(self._digests), [None, pa.py_buffer(self._digests)])
        order = pc.array_sort_indices(digests)
        digests = digests.take(order)
        same = pc.equal(digests[1:], digests[:-1])
        return order[1:].filter(same), order[:-1].filter(same)


class KeyWatch:
    """Notes the key of every row that passes, then refuses keys that are NULL or not unique."""

    def __init__(self, columns: Sequence[SourceColumn], key: Sequence[str]) -> None:
        self._key = tuple(key)
        self._values = _values_of(columns, key)
        self._digests = Digests()
        self._nulls = 0
        self._null_places: list[int] = []

    def __call__(self, rows: Sequence[Row]) -> None:
        """Note rows, in the order in which they are written."""
        keys = list(map(self._values, rows))
        nulls = keys.count(None) if len(self._key) == 1 else sum(None in key for key in keys)
        self._digests.add(self._texts_beside_nulls(keys) if nulls else map(str, keys))
        self._nulls += nulls

    def _texts_beside_nulls(self, keys: Sequence[Any]) -> Iterator[str]:
        """Yield the texts of keys; one with NULL is like no other, because it is refused for that alone."""
        for place, key in enumerate(keys, len(self._digests)):
            if key is None or (len(self._key) > 1 and None in key):
                if len(self._null_places) < KEYS_NAMED:
                    self._null_places.append(place)
                yield f"\0{place}"
            else:
                yield str(key)

    def check(self, batches: Sequence[BatchRef], folder: StagingPath, hash_key: KeyHasher) -> None:
        """Raise KeyRefused, naming hashed keys, for the rows that were written as `batches` into `folder`."""
        later, earlier = self._digests.repeated()
        pairs = list(zip(*(places[:PAIRS_COMPARED].to_pylist() for places in (later, earlier)), strict=True))
        if not self._nulls and not pairs:
            return
        wanted = {*self._null_places, *(place for pair in pairs for place in pair)}
        hashes = dict(_hashes_at(sorted(wanted), batches, folder, self._key, hash_key))
        twice = dict.fromkeys(hashes[one] for one, other in pairs if hashes[one] == hashes[other])
        said = []
        if self._nulls:
            without = (hashes[place] for place in self._null_places)
            said.append(f"{self._nulls} rows have NULL in it ({_some(without)})")
        if twice:
            said.append(f"{len(later)} rows have the key of another row ({_some(twice)})")
        if said:
            raise KeyRefused(
                f"the key {', '.join(self._key)} does not name one row: {' and '.join(said)}; nothing was sent. "
                "In brackets are hashed keys. Correct the query, or give Sync.key columns that are unique and not NULL"
            )


class PersonWatch:
    """Notes whom every row is about, to say whether a person's rows are apart."""

    def __init__(self, columns: Sequence[SourceColumn], identifiers: Sequence[str]) -> None:
        self._seen = [(_values_of(columns, [name]), Digests()) for name in identifiers]
        self._rows = 0

    def __call__(self, rows: Sequence[Row]) -> None:
        """Note rows, in the order in which they are written."""
        for value_of, digests in self._seen:
            digests.add(self._texts(list(map(value_of, rows))))
        self._rows += len(rows)

    def _texts(self, values: Sequence[Any]) -> Iterable[str]:
        """Return what tells people apart, ignoring case; a row without the identifier is about nobody else's."""
        if set(map(type, values)) == {str} and "" not in values:
            return map(str.casefold, values)
        return (
            f"\0{place}" if value in (None, "") else str(value).casefold()
            for place, value in enumerate(values, self._rows)
        )

    def apart(self, batches: Sequence[BatchRef]) -> int:
        """Return how many rows are about a person of whom an earlier batch has a row: these have no order."""
        if len(batches) < 2:
            return 0
        batch_of: Any = pa.concat_arrays([pa.repeat(batch.index, batch.rows) for batch in batches])
        counts = []
        for _, digests in self._seen:
            later, earlier = digests.repeated()
            counts.append(pc.sum(pc.not_equal(batch_of.take(later), batch_of.take(earlier))).as_py() or 0)
        return max(counts, default=0)


def _values_of(columns: Sequence[SourceColumn], wanted: Sequence[str]) -> Callable[[Row], Any]:
    names = [column.name for column in columns]
    return itemgetter(*(names.index(name) for name in wanted))


def _hashes_at(
    places: Sequence[int], batches: Sequence[BatchRef], folder: StagingPath, key: Sequence[str], hash_key: KeyHasher
) -> Iterator[tuple[int, str]]:
    """Yield the places with the hashes of the keys of these rows, as delivery gives them."""
    first = 0
    for batch in batches:
        here = [place for place in places if first <= place < first + batch.rows]
        if here:
            keys = read_columns(folder / PurePosixPath(batch.path).name, key).take([place - first for place in here])
            columns = [column.to_pylist() for column in keys.columns]
            yield from zip(here, map(hash_key, zip(*columns, strict=True)), strict=True)
        first += batch.rows


def _some(hashes: Iterable[str]) -> str:
    return ", ".join([*dict.fromkeys(hashes)][:KEYS_NAMED])
