"""Row streams from lists, and one that is cut off, for tests without a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from MySQLdb.constants import FIELD_TYPE

from reverse_etl.staging.columns import SourceColumn
from reverse_etl.staging.source import QueryStream, Row


def text(name: str) -> SourceColumn:
    return SourceColumn(name, FIELD_TYPE.VAR_STRING, 400, 0, is_unsigned=False, is_text=True)


def number(name: str) -> SourceColumn:
    return SourceColumn(name, FIELD_TYPE.LONGLONG, 20, 0, is_unsigned=False, is_text=False)


def of_type(name: str, type_code: int, decimals: int = 0) -> SourceColumn:
    return SourceColumn(name, type_code, 20, decimals, is_unsigned=False, is_text=False)


class ListStream:
    """A RowStream over chunks that counts how many were taken and remembers being closed."""

    def __init__(self, columns: Sequence[SourceColumn], chunks: Sequence[Sequence[Row]]) -> None:
        self.columns = tuple(columns)
        self.taken = 0
        self.closed = False
        self._chunks = chunks

    def __iter__(self) -> Iterator[tuple[Row, ...]]:
        for chunk in self._chunks:
            self.taken += 1
            yield tuple(chunk)

    def close(self) -> None:
        self.closed = True


def numbers(count: int, chunk: int = 7) -> ListStream:
    """Rows (0,) to (count - 1,) in one column `n`."""
    rows = [(index,) for index in range(count)]
    return ListStream([number("n")], [rows[start : start + chunk] for start in range(0, count, chunk)])


class Interrupted:
    """A RowStream that passes on another one's chunks and calls a function after the first."""

    def __init__(self, stream: QueryStream, after_first_chunk: Callable[[], None]) -> None:
        self.columns = stream.columns
        self._stream = stream
        self._after_first_chunk = after_first_chunk

    def __iter__(self) -> Iterator[tuple[Row, ...]]:
        for position, chunk in enumerate(self._stream):
            yield chunk
            if position == 0:
                self._after_first_chunk()

    def close(self) -> None:
        self._stream.close()
