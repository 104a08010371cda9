"""A person's rows leave batches, exports and results; everything else stays as it was."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from upath import UPath

from reverse_etl.delivery.outcomes import CallResult, Outcome, RowResult
from reverse_etl.delivery.report import Report, RunFacts
from reverse_etl.delivery.results import read_results
from reverse_etl.errors import StagingError
from reverse_etl.redaction import KeyHasher
from reverse_etl.staging.batches import read_rows, write_batches
from reverse_etl.staging.csv_export import export_csv
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.forgetting import (
    drop_from_batch,
    drop_from_csv,
    drop_from_json,
    drop_from_results,
    records_in_json,
    rows_in_batch,
    rows_in_csv,
    rows_in_results,
)
from reverse_etl.staging.people import Person, RowsAbout, same_email
from tests.staging.streams import ListStream, number, of_type, text

HASHER = KeyHasher("a hash key for the tests")
ZOE = "Zo\u00eb.Stra\u00dfe@example.com"
ROWS: list[tuple[object, ...]] = [
    (1, "ada@example.com", 10, 'says "hi",\nthen leaves'),
    (2, ZOE, 20, None),
    (3, None, 20, ""),
    (4, "+plus@example.com", 30, "=1+1"),
    (5, "", None, "x" * 200_000),
]
COLUMNS = [number("id"), text("email"), number("customer"), text("note")]


def about(
    *emails: str,
    user_ids: tuple[str, ...] = (),
    keys: Mapping[str, frozenset[str]] | None = None,
    email: str | None = "email",
) -> RowsAbout:
    person = Person(frozenset(map(same_email, emails)), frozenset(user_ids), keys or {})
    return RowsAbout(person, HASHER, sync="views", key=("id",), email=email, user_id="customer")


def staged(folder: StagingPath) -> StagingPath:
    [ref] = write_batches(ListStream(COLUMNS, [ROWS]), folder)
    return folder / ref.path.rpartition("/")[2]


def exported(folder: StagingPath) -> StagingPath:
    refs = write_batches(ListStream(COLUMNS, [ROWS]), folder)
    export_csv(refs, folder, folder / "out.csv")
    return folder / "out.csv"


def ids(path: StagingPath) -> list[Any]:
    return [row["id"] for rows in read_rows(path) for row in rows]


PEOPLE = [
    (about("ADA@EXAMPLE.COM"), [1]),
    (about(unicodedata.normalize("NFD", ZOE.upper())), [2]),
    (about("zo\u00eb.strasse@example.com"), [2]),
    (about("+plus@example.com"), [4]),
    (about(user_ids=("20",)), [2, 3]),
    (about("ada@example.com", user_ids=("20",)), [1, 2, 3]),
    (about(keys={"views": frozenset({HASHER((5,))})}), [5]),
    (about(keys={"others": frozenset({HASHER((5,))})}), []),
    (about("nobody@example.com", user_ids=("2",)), []),
    (about("ADA@EXAMPLE.COM", "", email=None), [1]),
    (about("nobody@example.com", user_ids=("20",), email=None), [2, 3]),
    (about("ada@example.com", email="note"), []),
]
people = pytest.mark.parametrize(("person", "theirs"), PEOPLE, ids=range(len(PEOPLE)))


@people
def test_a_batch_loses_the_rows_of_the_person_only(person: RowsAbout, theirs: list[int], folder: StagingPath) -> None:
    path = staged(folder)
    before = [row for rows in read_rows(path) for row in rows]
    assert rows_in_batch(path, person) == [frozenset({HASHER((number,))}) for number in theirs]
    assert drop_from_batch(path, person) == len(theirs)
    assert [row for rows in read_rows(path) for row in rows] == [row for row in before if row["id"] not in theirs]
    assert pq.read_schema(path.path).names == ["id", "email", "customer", "note"]


@people
def test_an_export_loses_the_rows_of_the_person_only(person: RowsAbout, theirs: list[int], folder: StagingPath) -> None:
    path = exported(folder)
    before = path.read_bytes()
    assert rows_in_csv(path, person) == [frozenset({HASHER((number,))}) for number in theirs]
    assert drop_from_csv(path, person) == len(theirs)
    [ref] = write_batches(ListStream(COLUMNS, [[row for row in ROWS if row[0] not in theirs]]), folder)
    export_csv([ref], folder, folder / "expected.csv")
    assert path.read_bytes() == (folder / "expected.csv").read_bytes()
    assert (path.read_bytes() == before) is (theirs == [])


def test_a_batch_of_which_nothing_is_left_is_still_a_batch(folder: StagingPath) -> None:
    path = staged(folder)
    everybody = about("ada@example.com", ZOE, "+plus@example.com", "", user_ids=("20",))
    drop_from_batch(path, everybody)
    assert ids(path) == []


def test_the_rows_of_a_sync_nobody_knows_are_found_in_any_column(folder: StagingPath) -> None:
    unknown = RowsAbout(Person(frozenset({"ada@example.com"})), HASHER, sync="gone")
    assert rows_in_batch(staged(folder), unknown) == [frozenset()]
    assert rows_in_csv(exported(folder), unknown) == [frozenset()]


def test_a_time_in_the_key_is_found_in_an_export(folder: StagingPath) -> None:
    from datetime import UTC, datetime

    from MySQLdb.constants import FIELD_TYPE

    moment = datetime(2026, 1, 13, 8, tzinfo=UTC)
    columns = [of_type("at", FIELD_TYPE.DATETIME), text("email")]
    refs = write_batches(ListStream(columns, [[(moment.replace(tzinfo=None), "ada@example.com")]]), folder)
    export_csv(refs, folder, folder / "out.csv")
    timed = RowsAbout(Person(frozenset({"ada@example.com"})), HASHER, sync="views", key=("at",), email="email")
    [found] = rows_in_csv(folder / "out.csv", timed)
    assert HASHER((moment,)) in found


def result(number: int, outcome: Outcome = Outcome.REJECTED) -> RowResult:
    return RowResult.of_calls(HASHER((number,)), [CallResult("user_update", outcome, "code", 400, 1)])


@pytest.mark.parametrize("theirs", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2], [7]])
def test_results_lose_the_records_of_the_person_only(theirs: list[int], folder: StagingPath) -> None:
    facts = RunFacts(
        "views", "2026-01-13", "a", "b", "run-1", dry_run=False, send="all", read=3, seconds={"extract": 0.5}
    )
    report = Report(facts, 0.05)
    parquet, json = folder / "results.parquet", folder / "results.json"
    report.write_parquet(map(result, range(3)), parquet)
    report.write_json(parquet, json)
    before = orjson.loads(json.read_bytes())
    hashes = frozenset(HASHER((number,)) for number in theirs)
    known = [number for number in theirs if number < 3]

    assert rows_in_results(parquet, hashes) == records_in_json(json, hashes) == len(known)
    assert drop_from_results(parquet, hashes) == drop_from_json(json, hashes) == len(known)

    left = [HASHER((number,)) for number in range(3) if number not in theirs]
    assert [row.key for row in read_results(parquet)] == left
    after = orjson.loads(json.read_bytes())
    assert after == before | {"records": [record for record in before["records"] if record["key"] in left]}


def test_a_damaged_file_is_named_and_nothing_is_written(tmp_path: Any) -> None:
    path = UPath(tmp_path / "batch-00000.parquet")
    path.write_bytes(b"PAR1 and nothing of the kind")
    with pytest.raises(StagingError, match="batch-00000.parquet cannot be read as Parquet"):
        drop_from_batch(path, about("ada@example.com"))
    assert path.read_bytes() == b"PAR1 and nothing of the kind"
    assert [file.name for file in tmp_path.iterdir()] == ["batch-00000.parquet"]
