"""The members of a mirror sync: added, replaced, kept, found, and made into rows to be removed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from MySQLdb.constants import FIELD_TYPE

from reverse_etl.errors import StagingError
from reverse_etl.mirror import REMOVED_AT
from reverse_etl.redaction import KeyHasher
from reverse_etl.staging.batches import read_rows, write_batches
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.members import (
    Members,
    SortedHashes,
    first_hexes,
    from_hex,
    rows_of_same_people,
    still_here,
    write_removals,
)
from tests.staging.streams import ListStream, number, of_type, text

HASHER = KeyHasher("a secret of the tests, 32 letters")
COLUMNS = [number("id"), text("email"), text("name")]
WHEN = datetime(2026, 1, 14, tzinfo=UTC)


def batches(folder: StagingPath, *rows: tuple[object, ...], columns: Sequence[object] = COLUMNS) -> list[StagingPath]:
    """Rows of (id, email, name) as batches of two."""
    refs = write_batches(ListStream(columns, [rows] if rows else []), folder, batch_rows=2)  # type: ignore[arg-type]
    return [folder / f"batch-{ref.index:05d}.parquet" for ref in refs]


def row(key: int, email: str | None = "") -> tuple[object, ...]:
    return (key, f"m{key}@example.com" if email == "" else email, "somebody's name")


def members(folder: StagingPath, key: str = "id") -> Members:
    return Members(folder / "mirror=members/all/pro", [key], ["email"], HASHER)


def hashes(*keys: int) -> pa.Array[pa.Scalar[pa.DataType]]:
    return from_hex(HASHER((key,)) for key in keys)


def found(of: Members, *keys: int) -> dict[object, object]:
    rows = [row for table in of.of(hashes(*keys)) for row in table.to_pylist()]
    return {row["id"]: row["email"] for row in rows}


def test_without_rows_and_members_there_is_nothing(any_folder: StagingPath) -> None:
    own = members(any_folder)
    assert own.add([]) == 0
    assert not own.path.fs.exists(own.path.path)
    assert (found(own, 1), len(own.hashes_of([])), own.keep(SortedHashes(hashes()), hashes(1))) == ({}, 0, 0)


def test_rows_are_added_and_replaced_and_only_key_and_person_are_kept(any_folder: StagingPath) -> None:
    own = members(any_folder)
    assert own.add(batches(any_folder / "one", row(1), row(2), row(3))) == 3
    assert own.add(batches(any_folder / "two", row(3, "new@example.com"), row(4, None))) == 4
    assert own.add([]) == 4
    assert found(own, 1, 3, 4, 9) == {1: "m1@example.com", 3: "new@example.com", 4: None}
    assert "somebody" not in own.path.read_bytes().decode("latin-1")


def test_members_are_kept_by_their_keys(any_folder: StagingPath) -> None:
    own = members(any_folder)
    own.add(batches(any_folder / "one", row(1), row(2), row(3)))
    assert own.keep(SortedHashes(hashes(1)), hashes(3, 8)) == 2
    assert set(found(own, 1, 2, 3)) == {1, 3}
    assert own.keep(SortedHashes(hashes()), hashes()) == 0
    assert found(own, 1, 3) == {}
    assert own.add(batches(any_folder / "two", row(1))) == 1


def test_members_of_another_mapping_keep_what_still_has_a_column(any_folder: StagingPath) -> None:
    members(any_folder).add(batches(any_folder / "one", row(1)))
    narrow = [of_type("id", FIELD_TYPE.LONG), text("email"), text("name")]
    later = Members(any_folder / "mirror=members/all/pro", ["id"], ["email", "name"], HASHER)
    assert later.add(batches(any_folder / "two", row(2), columns=narrow)) == 2
    rows = [row for table in later.of(hashes(1, 2)) for row in table.to_pylist()]
    assert {row["id"]: row["name"] for row in rows} == {1: None, 2: "somebody's name"}
    tiny = [of_type("id", FIELD_TYPE.TINY), text("email"), text("name")]
    members(any_folder).add(batches(any_folder / "three", row(1000)))
    with pytest.raises(StagingError, match="column 'id' .* cannot be taken over as int8; remove the file"):
        members(any_folder).add(batches(any_folder / "four", row(4), columns=tiny))


@pytest.mark.parametrize(
    ("known", "current", "left"), [((), (), ()), ((1, 2, 3), (2,), (1, 3)), ((1,), (), (1,)), ((), (1,), ())]
)
def test_who_is_known_and_not_there_has_left(
    known: tuple[int, ...], current: tuple[int, ...], left: tuple[int, ...]
) -> None:
    assert SortedHashes(hashes(*current)).missing(hashes(*known)).to_pylist() == sorted(hashes(*left).to_pylist())


def test_many_keys_are_compared_page_by_page() -> None:
    every = hashes(*range(120_000))
    there = SortedHashes(hashes(*range(0, 120_000, 2)))
    assert len(there) == 60_000
    assert set(there.missing(every).to_pylist()) == set(hashes(*range(1, 120_000, 2)).to_pylist())
    assert len(there.missing(hashes(*range(0, 120_000, 2)))) == 0


def test_people_with_another_row_stay_whatever_the_case_of_their_letters(any_folder: StagingPath) -> None:
    own = members(any_folder)
    own.add(batches(any_folder / "one", row(1, "Zoë@example.com"), row(2), row(3, None)))
    current = batches(any_folder / "two", row(7, "ZOË@EXAMPLE.COM"), row(8, None))
    staying, leaving = still_here(list(own.of(hashes(1, 2, 3))), current, ["email"])
    assert staying == 1
    assert [row["id"] for table in leaving for row in table.to_pylist()] == [2, 3]
    assert first_hexes(leaving, 1) == [HASHER((2,))]
    assert still_here([], current, ["email"]) == (0, [])


@pytest.mark.parametrize("spelling", [" Zo\u00eb@example.com\n", "ZOE\u0308@example.com"])
def test_people_with_another_row_stay_however_it_is_written(any_folder: StagingPath, spelling: str) -> None:
    own = members(any_folder)
    own.add(batches(any_folder / "one", row(1, "zo\u00eb@example.com")))
    current = batches(any_folder / "two", row(7, spelling))
    assert still_here(list(own.of(hashes(1))), current, ["email"]) == (1, [])


def test_an_empty_identifier_makes_nobody_the_same_person(any_folder: StagingPath) -> None:
    own = Members(any_folder / "mirror=members/all/pro", ["id"], ["email", "name"], HASHER)
    own.add(batches(any_folder / "one", (1, "m1@example.com", ""), (2, "m2@example.com", " ")))
    current = batches(any_folder / "two", (7, "m7@example.com", ""), (8, "m8@example.com", " "))
    staying, leaving = still_here(list(own.of(hashes(1, 2))), current, ["email", "name"])
    assert (staying, [row["id"] for table in leaving for row in table.to_pylist()]) == (0, [1, 2])


def test_rows_of_the_same_people_in_other_batches_are_found_by_any_identifier(any_folder: StagingPath) -> None:
    [batch] = batches(any_folder / "one", (1, "zo\u00eb@example.com", None), (2, None, "two"))
    others = batches(
        any_folder / "two",
        *[(3, " ZOE\u0308@example.com", ""), (4, "m4@example.com", "TWO"), (5, "m5@example.com", ""), (6, None, None)],
    )
    found = rows_of_same_people(batch, others, ["email", "name"])
    assert [row["id"] for rows in found for row in rows] == [3, 4]
    assert list(rows_of_same_people(batch, [], ["email"])) == []


def test_removals_are_batches_with_their_time_and_replace_earlier_ones(any_folder: StagingPath) -> None:
    own = members(any_folder)
    own.add(batches(any_folder / "one", *(row(key) for key in range(5))))
    folder = any_folder / "removed"
    assert [ref.rows for ref in write_removals(own.of(hashes(*range(5))), folder, WHEN, batch_rows=2)] == [2, 2, 1]
    [ref] = write_removals(own.of(hashes(3)), folder, WHEN, batch_rows=2)
    assert (ref.index, ref.rows) == (0, 1)
    [rows] = read_rows(folder / "batch-00000.parquet")
    assert rows == [{"id": 3, "email": "m3@example.com", REMOVED_AT: WHEN}]
    assert write_removals([], folder, WHEN, batch_rows=2) == []
    assert not list(folder.glob("*.parquet"))
