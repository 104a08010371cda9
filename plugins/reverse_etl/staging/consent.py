"""Which rows of a batch are about people not to contact: decided once, when the rows are read, and kept beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from reverse_etl.errors import StagingError
from reverse_etl.kinds import IDENTIFIER_KINDS, check_kind
from reverse_etl.redaction import KeyHasher, key_of
from reverse_etl.staging.batches import BatchRef, read_record_batches
from reverse_etl.staging.columns import arrow_schema
from reverse_etl.staging.files import StagingPath, write_atomically
from reverse_etl.staging.kinds import column_kinds
from reverse_etl.staging.people import same_email
from reverse_etl.staging.source import RowStream

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False)])
_CHUNK_ROWS = 10_000

FORMS: Mapping[str, Callable[[str], str]] = {"email": same_email, "user_id": str}
"""In which form identifiers are compared."""

Row = Mapping[str, object]


def read_people(stream: RowStream) -> dict[str, frozenset[str]]:
    """Return the identifiers of a query of people, by its columns, in the form in which they are compared.

    About 120 bytes of memory each. Raises what the stream raises, and ConfigurationError for a column whose type cannot
    be an identifier: it would never equal one.
    """
    kinds = column_kinds(arrow_schema(stream.columns))
    check_people(kinds)
    found: dict[str, set[str]] = {name: set() for name in kinds}
    for chunk in stream:
        for (name, known), values in zip(found.items(), zip(*chunk, strict=True), strict=True):
            known.update(map(FORMS[name], (str(value) for value in values if value not in (None, ""))))
    return {name: frozenset(known) for name, known in found.items()}


def check_people(kinds: Mapping[str, str]) -> None:
    """Raise ConfigurationError for a column of people whose type cannot be an identifier."""
    for name, kind in kinds.items():
        check_kind("a query of people", name, kind, IDENTIFIER_KINDS)


class Gate:
    """Says of a row whether it is about somebody not to contact.

    `column` must hold 0 for a row that may be sent; `people` are identifiers as `read_people` gives them, and
    `compared` the columns of the row that hold the like.
    """

    def __init__(
        self, column: str | None, people: Mapping[str, frozenset[str]] | None, compared: Mapping[str, str] | None
    ) -> None:
        self._column = column
        self._people = [
            (column, FORMS[name], (people or {}).get(name, frozenset())) for name, column in (compared or {}).items()
        ]
        self.columns = tuple(dict.fromkeys([*([column] if column else []), *(name for name, _, _ in self._people)]))

    def __call__(self, row: Row) -> bool:
        """Return whether nothing of the row may be sent."""
        if self._column and row[self._column] != 0:
            return True
        return any(
            row[column] not in (None, "") and form(str(row[column])) in known for column, form, known in self._people
        )


def write_withheld(
    batches: Sequence[BatchRef], folder: StagingPath, gate: Gate, key: Sequence[str], hash_key: KeyHasher
) -> int:
    """Write the hashed keys of the rows `gate` holds back, in a file beside each batch; return their number.

    A batch whose rows may all be sent has a file too: a missing one is an error and not a permission.
    """
    total = 0
    for batch in batches:
        path = folder / PurePosixPath(batch.path).name
        keys = [hash_key(key_of(row, key)) for row in _rows(path, {*key, *gate.columns}) if gate(row)]
        total += len(keys)
        with write_atomically(withheld_path(path)) as handle:
            pq.write_table(pa.table([pa.array(keys, pa.string())], schema=SCHEMA), handle, compression="zstd")
    return total


def read_withheld(batch: StagingPath) -> frozenset[str]:
    """Return the hashed keys of the rows of a batch that must not be sent; raise StagingError when nobody can tell."""
    path = withheld_path(batch)
    try:
        with path.fs.open(path.path, "rb") as handle:
            return frozenset(map(str, pq.read_table(handle, schema=SCHEMA).column("key").to_pylist()))
    except (OSError, pa.ArrowException) as error:
        raise StagingError(
            f"{path}, which says whom not to contact, cannot be read ({type(error).__name__}); nothing was sent: "
            "run the extract task again to write it"
        ) from None


def withheld_path(batch: StagingPath) -> StagingPath:
    """Return the file beside a batch with the rows that must not be sent."""
    return batch.with_name(batch.name.replace("batch-", "no_consent-"))


def _rows(path: StagingPath, columns: Iterable[str]) -> Iterator[Row]:
    wanted = list(columns)
    for batch in read_record_batches(path, chunk_rows=_CHUNK_ROWS):
        yield from batch.select(wanted).to_pylist()
