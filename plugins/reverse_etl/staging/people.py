"""Which rows of staged files and exports are about a person, by identifier or by the row's key."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from reverse_etl.redaction import KeyHasher

_NEUTRALISED = re.compile(r"'[=+\-@\uff1d\uff0b\uff0d\uff20\x00-\x1f\x7f-\x9f]")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00")


def same_email(email: str) -> str:
    """Return an e-mail in the form in which it is compared: case and the way accents are written do not matter."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", email.strip()).casefold())


@dataclass(frozen=True, slots=True)
class Person:
    """One person: e-mails (as `same_email` gives them), user ids, and hashed keys of rows by the sync's name."""

    emails: frozenset[str] = frozenset()
    user_ids: frozenset[str] = frozenset()
    keys: Mapping[str, frozenset[str]] = field(default_factory=dict)


class RowsAbout:
    """Finds the rows of one sync that are about a person.

    `email` and `user_id` are the columns with the identifiers and `key` those of the sync's key. Without `key` the sync
    is not known any more: then every column is searched, and no row has a hash. Without `email` an e-mail may be in any
    column, as a field of the mapping, and is searched in all.
    """

    def __init__(
        self,
        person: Person,
        hash_key: KeyHasher,
        *,
        sync: str,
        key: Sequence[str] = (),
        email: str | None = None,
        user_id: str | None = None,
    ) -> None:
        self._person = person
        self._hash_key = hash_key
        self._key = key
        self._email = email
        self._user_id = user_id
        self._wanted = person.keys.get(sync, frozenset())

    def columns(self, names: Iterable[str]) -> list[str]:
        """Return those of a file's columns that are looked at."""
        if not self._key or self._seeks_emails_anywhere:
            return list(names)
        return [name for name in names if name in (*self._key, self._email, self._user_id)]

    def in_batch(self, batch: pa.RecordBatch) -> Iterator[frozenset[str] | None]:
        """Yield for each row None, or its hashes when it is about the person."""
        names = batch.schema.names
        columns = [column.to_pylist() for column in batch.columns]
        for values in zip(*columns, strict=True):
            row = dict(zip(names, values, strict=True))
            yield self._about(row, [row])

    def in_cells(self, header: Sequence[str], cells: Sequence[str]) -> frozenset[str] | None:
        """Return None, or the hashes of a row of an export when it is about the person.

        A cell does not tell its type, so that a key with a time in it may have one of two hashes.
        """
        row = {name: _plain(cell) for name, cell in zip(header, cells, strict=False)}
        moments = {name: cell.replace("T", " ") if _MOMENT.fullmatch(cell) else cell for name, cell in row.items()}
        return self._about(row, [row] if moments == row else [row, moments])

    def _about(self, row: Mapping[str, object], forms: Iterable[Mapping[str, object]]) -> frozenset[str] | None:
        named = self._is_named(row)
        if not named and not self._wanted:
            return None
        hashes = frozenset(self._hash(form) for form in forms) if self._has_key(row) else frozenset()
        return hashes if named or hashes & self._wanted else None

    def _is_named(self, row: Mapping[str, object]) -> bool:
        if not self._key:
            return any(self._is_email(value) or self._is_user_id(value) for value in row.values())
        if self._seeks_emails_anywhere and any(self._is_email(value) for value in row.values() if _is_written(value)):
            return True
        return self._is_email(row.get(self._email or "")) or self._is_user_id(row.get(self._user_id or ""))

    @property
    def _seeks_emails_anywhere(self) -> bool:
        return self._email is None and bool(self._person.emails)

    def _is_email(self, value: object) -> bool:
        return bool(self._person.emails) and isinstance(value, str) and same_email(value) in self._person.emails

    def _is_user_id(self, value: object) -> bool:
        return bool(self._person.user_ids) and value is not None and str(value) in self._person.user_ids

    def _has_key(self, row: Mapping[str, object]) -> bool:
        return bool(self._key) and all(column in row for column in self._key)

    def _hash(self, row: Mapping[str, object]) -> str:
        return self._hash_key(row[column] for column in self._key)


def _is_written(value: object) -> bool:
    """Whether a value is text with more than blanks in it."""
    return isinstance(value, str) and not value.isspace() and value != ""


def _plain(cell: str) -> str:
    """Return the text a cell stands for: the export puts an apostrophe before what a spreadsheet would run."""
    return cell[1:] if _NEUTRALISED.match(cell) else cell
