"""The members of a mirror sync: who is behind the rows it may have delivered, kept to remove them one day.

They are one Parquet file with the columns of the key, those that identify the person, and the hashed key. It is named
as a batch is, so that purging a person finds it as it finds batches. Of a row its hash is held, about a hundred bytes
with the copies made to sort and compare; the file itself passes in chunks.
"""

from __future__ import annotations

import binascii
import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import reduce
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reverse_etl.errors import StagingError
from reverse_etl.mirror import REMOVED_AT, ROW_KEY
from reverse_etl.redaction import KeyHasher
from reverse_etl.staging.batches import BatchRef, read_columns, read_record_batches, write_table
from reverse_etl.staging.files import StagingPath, remove_matching, write_atomically

CHUNK_ROWS = 50_000

HASH = pa.binary(16)


class Members:
    """The members of one sync in the file `folder`/batch-00000.parquet; `columns` are those of key and person."""

    def __init__(self, folder: StagingPath, key: Sequence[str], columns: Sequence[str], hash_key: KeyHasher) -> None:
        self._folder = folder
        self._key = list(key)
        self._columns = list(dict.fromkeys([*key, *columns]))
        self._hash_key = hash_key

    @property
    def path(self) -> StagingPath:
        """The file."""
        return self._folder / "batch-00000.parquet"

    def add(self, batches: Sequence[StagingPath]) -> int:
        """Take the rows of batches in, in place of members with the same key; return how many members there are.

        Raises StagingError.
        """
        return self._rewrite(self._rows_of(batches), lambda added: self.of(SortedHashes(added).missing(self._hashes())))

    def keep(self, current: SortedHashes, left: pa.Array[Any]) -> int:
        """Keep the members whose hashed key is in `current` or in `left`; return how many there are then."""
        gone = SortedHashes(left).missing(current.missing(self._hashes()))
        return self._rewrite(iter(()), lambda _added: self._chosen(lambda keys: pc.invert(_is_in(keys, gone))))

    def of(self, hashes: pa.Array[Any]) -> Iterator[pa.Table]:
        """Yield the members with one of these hashed keys."""
        return self._chosen(lambda keys: _is_in(keys, hashes))

    def hashes_of(self, batches: Sequence[StagingPath]) -> SortedHashes:
        """Return the hashed keys of the rows of batches."""
        return SortedHashes(
            joined([table[ROW_KEY].combine_chunks() for table in self._rows_of(batches, only_key=True)])
        )

    def _rows_of(self, batches: Sequence[StagingPath], *, only_key: bool = False) -> Iterator[pa.Table]:
        for path in batches:
            for rows in read_record_batches(path, chunk_rows=CHUNK_ROWS):
                keys = zip(*(rows.column(name).to_pylist() for name in self._key), strict=True)
                hashes = pa.array([bytes.fromhex(self._hash_key(values)) for values in keys], HASH)
                taken = [] if only_key else self._columns
                yield pa.table([*(rows.column(name) for name in taken), hashes], names=[*taken, ROW_KEY])

    def _is_there(self) -> bool:
        return bool(self.path.fs.exists(self.path.path))

    def _present(self) -> Iterator[pa.Table]:
        if not self._is_there():
            return
        for rows in read_record_batches(self.path, chunk_rows=CHUNK_ROWS):
            yield pa.Table.from_batches([rows])

    def _hashes(self) -> pa.Array[Any]:
        return read_columns(self.path, [ROW_KEY])[ROW_KEY].combine_chunks() if self._is_there() else joined([])

    def _chosen(self, choose: Callable[[pa.Array[Any]], pa.Array[Any]]) -> Iterator[pa.Table]:
        """Yield the members that are chosen by their hashed keys, in one look at all of them."""
        chosen = choose(self._hashes())
        start = 0
        for table in self._present():
            taken = table.filter(chosen.slice(start, table.num_rows))
            start += table.num_rows
            if taken.num_rows:
                yield taken

    def _rewrite(self, rows: Iterator[pa.Table], others: Callable[[pa.Array[Any]], Iterator[pa.Table]]) -> int:
        """Write `rows`, and of the present members those that `others` gives for the hashed keys of the rows."""
        first = next(rows, None)
        like = first if first is not None else next(self._present(), None)
        if like is None:
            return 0
        hashes: list[pa.Array[Any]] = []
        count = 0
        with write_atomically(self.path) as handle, pq.ParquetWriter(handle, like.schema, compression="zstd") as file:
            for table in rows if first is None else chain([first], rows):
                hashes.append(table[ROW_KEY].combine_chunks())
                file.write_table(table)
                count += table.num_rows
            written = joined(hashes)
            hashes.clear()
            for table in others(written):
                file.write_table(_fitted(table, like.schema))
                count += table.num_rows
        return count


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a schema: the mapping may have changed since it was written."""
    return pa.table([_column(table, field) for field in schema], schema=schema)


def _column(table: pa.Table, field: pa.Field[Any]) -> Any:  # noqa: ANN401 - an array, or one in chunks
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    try:
        return table[field.name].cast(field.type)
    except pa.ArrowException:
        raise StagingError(
            f"column {field.name!r} of the members kept until now cannot be taken over as {field.type}; "
            "remove the file under mirror=members in the staging folder: rows that left until now then stay"
        ) from None


def joined(arrays: Sequence[pa.Array[Any]]) -> pa.Array[Any]:
    """Return arrays of hashed keys as one."""
    return pa.concat_arrays(arrays) if arrays else pa.array([], HASH)


def _is_in(keys: pa.Array[Any], few: pa.Array[Any]) -> pa.Array[Any]:
    return pc.is_in(keys, value_set=few)


class SortedHashes:
    """Hashed keys in their order. A set of them would take six times the memory."""

    def __init__(self, hashes: pa.Array[Any]) -> None:
        self._hashes = _in_order(hashes)

    def __len__(self) -> int:
        return len(self._hashes)

    def digest(self) -> str:
        """Return what stands for these keys and no others."""
        hashing = hashlib.blake2b(digest_size=16)
        for key in self._hashes:
            hashing.update(key.as_py())
        return hashing.hexdigest()

    def missing(self, hashes: pa.Array[Any]) -> pa.Array[Any]:
        """Return those of `hashes` that are not among these, in their order."""
        ordered = _in_order(hashes)
        pages = (ordered.slice(start, CHUNK_ROWS) for start in range(0, len(ordered), CHUNK_ROWS))
        return joined([page.filter(pc.invert(_is_in(page, self._around(page)))) for page in pages])

    def _around(self, page: pa.Array[Any]) -> pa.Array[Any]:
        """Return those of these that lie between the first and the last of an ordered page."""
        start = bisect_left(self._hashes, page[0].as_py(), key=lambda found: found.as_py())
        end = bisect_right(self._hashes, page[-1].as_py(), key=lambda found: found.as_py())
        return self._hashes.slice(start, end - start)


def _in_order(hashes: pa.Array[Any]) -> pa.Array[Any]:
    return hashes.take(pc.array_sort_indices(hashes))


def still_here(
    members: Sequence[pa.Table], batches: Sequence[StagingPath], identifiers: Sequence[str]
) -> tuple[int, list[pa.Table]]:
    """Return of how many members the person has a row in `batches`, under another key, and the other members.

    Upper and lower case are the same person, and so are blanks around and either way to write an accent: of two who may
    be one, nobody is removed. An empty text names nobody.
    """
    present: list[pa.Table] = list(members)
    before = sum(table.num_rows for table in present)
    for path in batches if before else ():
        for rows in read_record_batches(path, chunk_rows=CHUNK_ROWS):
            for name in identifiers:
                here = _identities(rows.column(name))
                present = [
                    table.filter(pc.invert(pc.is_in(_identities(table[name]), value_set=here, skip_nulls=True)))
                    for table in present
                ]
    left = [table for table in present if table.num_rows]
    return before - sum(table.num_rows for table in left), left


def digest_of(members: Iterable[pa.Table]) -> str:
    """Return what stands for the rows of these members, in whatever order."""
    return SortedHashes(joined([table[ROW_KEY].combine_chunks() for table in members])).digest()


def rows_of_same_people(
    batch: StagingPath, others: Sequence[StagingPath], identifiers: Sequence[str]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of other batches about people who have a row in a batch, told apart as `still_here` does."""
    if not others:
        return
    people = read_columns(batch, list(identifiers))
    here = {name: pc.drop_null(_identities(people[name])) for name in identifiers}
    for path in others:
        for rows in read_record_batches(path, chunk_rows=CHUNK_ROWS):
            table = pa.Table.from_batches([rows])
            same = [pc.is_in(_identities(table[name]), value_set=here[name]) for name in identifiers]
            yield table.filter(reduce(pc.or_, same)).to_pylist()


def first_hexes(members: Iterable[pa.Table], number: int) -> list[str]:
    """Return the hashed keys of the first members, in hexadecimal."""
    keys = (key for table in members for key in table[ROW_KEY].slice(0, number).to_pylist())
    return [key.hex() for key in islice(keys, number) if key]


def _identities(column: Any) -> Any:  # noqa: ANN401 - an array, or one in chunks
    text = pa.large_string()
    trimmed = pc.utf8_trim_whitespace(column.cast(text))
    written: Any = pc.utf8_normalize(trimmed, form="NFC")  # type: ignore[attr-defined]  # the stubs lack it
    return pc.if_else(pc.equal(written, pa.scalar("", text)), pa.scalar(None, text), pc.utf8_lower(written))


def write_removals(
    members: Iterable[pa.Table], folder: StagingPath, removed_at: datetime, *, batch_rows: int
) -> list[BatchRef]:
    """Write members as batches of rows to be removed, each with the time of the removal; raises StagingError."""
    remove_matching(folder, ("batch-*.parquet",))
    tables = [table.drop_columns([ROW_KEY]) for table in members]
    if not tables:
        return []
    every = pa.concat_tables(tables)
    times = pa.array([removed_at] * every.num_rows, pa.timestamp("us", tz="UTC"))
    every = every.append_column(REMOVED_AT, times)
    refs = []
    for index, start in enumerate(range(0, every.num_rows, batch_rows)):
        path = folder / f"batch-{index:05d}.parquet"
        table = every.slice(start, batch_rows)
        write_table(table, path)
        refs.append(BatchRef(index, str(path), table.num_rows))
    return refs


def from_hex(keys: Iterable[str]) -> pa.Array[Any]:
    """Return hashed keys as an array."""
    return pa.array([binascii.unhexlify(key) for key in keys], HASH)
