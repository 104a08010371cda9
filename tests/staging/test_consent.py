"""Which rows are held back, how identifiers compare, and that a missing file is no permission."""

from __future__ import annotations

import pytest
from MySQLdb.constants import FIELD_TYPE

from reverse_etl.errors import ConfigurationError, StagingError
from reverse_etl.redaction import KeyHasher
from reverse_etl.staging.batches import write_batches
from reverse_etl.staging.consent import Gate, read_people, read_withheld, withheld_path, write_withheld
from reverse_etl.staging.files import StagingPath
from tests.staging.streams import ListStream, number, of_type, text

HASHER = KeyHasher("a hash key for the tests")
COLUMNS = [number("id"), text("email"), number("opted_out")]


def test_a_file_that_is_missing_or_damaged_is_no_permission(folder: StagingPath) -> None:
    [batch] = write_batches(ListStream(COLUMNS, [[(1, "ada@example.com", 0)]]), folder)
    path = folder / batch.path.rpartition("/")[2]
    with pytest.raises(StagingError, match="says whom not to contact, cannot be read .* nothing was sent"):
        read_withheld(path)
    withheld_path(path).write_bytes(b"PAR1")
    with pytest.raises(StagingError, match="run the extract task again"):
        read_withheld(path)


@pytest.mark.parametrize(("value", "held"), [(0, False), (1, True), (2, True), (-1, True), (None, True)])
def test_only_zero_lets_a_row_pass(value: int | None, held: bool) -> None:
    assert Gate("opted_out", None, None)({"opted_out": value}) is held


@pytest.mark.parametrize(
    ("email", "held"),
    [
        ("ada@example.com", True),
        ("ADA@Example.COM", True),
        (" ada@example.com ", True),
        ("Zoe\u0308@example.com", True),
        ("ben@example.com", False),
        ("ada@example.com.au", False),
        ("", False),
        (None, False),
    ],
)
def test_emails_compare_without_case(email: str | None, held: bool) -> None:
    people = read_people(
        ListStream([text("email")], [[("Ada@example.com",), (None,), ("",)], [("zo\u00eb@EXAMPLE.com",)]])
    )
    assert Gate(None, people, {"email": "mail"})({"mail": email}) is held


@pytest.mark.parametrize(("user_id", "held"), [(7, True), ("7", True), ("07", False), ("A7", True), ("a7", False)])
def test_user_ids_compare_as_they_are(user_id: object, held: bool) -> None:
    people = read_people(ListStream([text("user_id")], [[("7",), ("A7",)]]))
    assert Gate(None, people, {"user_id": "id"})({"id": user_id}) is held


def test_one_of_several_reasons_is_enough() -> None:
    people = read_people(ListStream([text("email"), number("user_id")], [[("ada@example.com", None), (None, 7)]]))
    gate = Gate("opted_out", people, {"email": "email", "user_id": "id"})
    rows = [
        {"email": "ada@example.com", "id": 1, "opted_out": 0},
        {"email": "ben@example.com", "id": 7, "opted_out": 0},
        {"email": "eva@example.com", "id": 2, "opted_out": 1},
        {"email": "kim@example.com", "id": 3, "opted_out": 0},
    ]
    assert [gate(row) for row in rows] == [True, True, True, False]


def test_people_of_a_type_that_never_equals_an_identifier_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="column email holds binary, but a query of people needs"):
        read_people(ListStream([of_type("email", FIELD_TYPE.BLOB)], []))


def test_nobody_is_nobody() -> None:
    people = read_people(ListStream([text("email")], []))
    assert Gate(None, people, {"email": "email"})({"email": "ada@example.com"}) is False


def test_each_batch_has_its_file_with_hashed_keys_and_nothing_else(any_folder: StagingPath) -> None:
    rows = [(place, f"p{place}@example.com", place % 2) for place in range(4)] + [(4, "p4@example.com", 0)]
    batches = write_batches(ListStream(COLUMNS, [rows]), any_folder, batch_rows=2)
    assert write_withheld(batches, any_folder, Gate("opted_out", None, None), ["id"], HASHER) == 2
    paths = [any_folder / batch.path.rpartition("/")[2] for batch in batches]
    assert [read_withheld(path) for path in paths] == [{HASHER((1,))}, {HASHER((3,))}, frozenset()]
    assert b"example.com" not in withheld_path(paths[0]).read_bytes()


def test_the_files_of_an_earlier_try_go(folder: StagingPath) -> None:
    batches = write_batches(ListStream(COLUMNS, [[(1, "a", 1)], [(2, "b", 1)]]), folder, batch_rows=1)
    write_withheld(batches, folder, Gate("opted_out", None, None), ["id"], HASHER)
    [batch] = write_batches(ListStream(COLUMNS, [[(1, "a", 0)]]), folder)
    with pytest.raises(StagingError):
        read_withheld(folder / batch.path.rpartition("/")[2])
