"""Of a query's rows only those whose hashed key is wanted."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from MySQLdb.constants import FIELD_TYPE

from reverse_etl.redaction import KeyHasher, key_of
from reverse_etl.staging.batches import read_rows, write_batches
from reverse_etl.staging.choosing import ROWS_HELD, ChosenRows
from reverse_etl.staging.columns import SourceColumn
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.source import CHUNK_BYTES
from tests.staging.streams import ListStream, number, numbers, of_type, text

HASHER = KeyHasher("a hash key for the tests")


def hashes(*keys: tuple[object, ...]) -> set[str]:
    return {HASHER(key) for key in keys}


def test_nothing_wanted_gives_no_chunk_at_all() -> None:
    chosen = ChosenRows(numbers(20), ["n"], set(), HASHER)
    assert list(chosen) == []
    assert chosen.found == set()


def test_a_wanted_row_that_is_not_there_is_not_found() -> None:
    chosen = ChosenRows(numbers(20), ["n"], hashes((3,), (20,)), HASHER)
    assert list(chosen) == [((3,),)]
    assert chosen.found == hashes((3,))


def test_rows_keep_their_order_and_come_in_few_chunks() -> None:
    wanted = hashes(*((index,) for index in range(0, 5_000, 2)))
    chunks = list(ChosenRows(numbers(5_000), ["n"], wanted, HASHER))
    assert [row for chunk in chunks for row in chunk] == [(index,) for index in range(0, 5_000, 2)]
    assert len(chunks) == 1 + 2_500 // ROWS_HELD


def test_large_rows_are_not_held_together() -> None:
    cell = "x" * (CHUNK_BYTES // 2 + 1)
    stream = ListStream([number("n"), text("t")], [[(index, cell)] for index in range(4)])
    chunks = list(ChosenRows(stream, ["n"], hashes(*((index,) for index in range(4))), HASHER))
    assert [len(chunk) for chunk in chunks] == [2, 2]


def test_it_closes_the_stream() -> None:
    stream = numbers(3)
    write_nothing = ChosenRows(stream, ["n"], set(), HASHER)
    write_nothing.close()
    assert stream.closed


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (number("k"), 7),
        (text("k"), "zo\u00eb"),
        (text("k"), None),
        (of_type("k", FIELD_TYPE.DATETIME), datetime(2026, 1, 13, 8)),  # noqa: DTZ001 - as the driver gives it
        (of_type("k", FIELD_TYPE.NEWDECIMAL, decimals=2), Decimal("1.50")),
        (of_type("k", FIELD_TYPE.DOUBLE), 0.1),
        (of_type("k", FIELD_TYPE.YEAR), 2026),
    ],
    ids=lambda value: str(getattr(value, "type_code", value)),
)
def test_a_key_has_the_hash_delivery_gave_it(column: SourceColumn, value: object, folder: StagingPath) -> None:
    def stream() -> ListStream:
        return ListStream([number("n"), column], [[(1, value)]])

    [ref] = write_batches(stream(), folder)
    [[delivered]] = read_rows(folder / ref.path.rpartition("/")[2])
    wanted = {HASHER(key_of(delivered, ["k", "n"]))}
    chosen = ChosenRows(stream(), ["k", "n"], wanted, HASHER)
    assert list(chosen) == [((1, value),)]
