"""A key that is NULL or names several rows is refused, whatever its type; people with rows apart are counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from MySQLdb.constants import FIELD_TYPE
from upath import UPath

from reverse_etl.errors import KeyRefused
from reverse_etl.redaction import KeyHasher
from reverse_etl.staging.batches import write_batches
from reverse_etl.staging.columns import SourceColumn
from reverse_etl.staging.files import StagingPath
from reverse_etl.staging.keys import KEYS_NAMED, KeyWatch, PersonWatch
from tests.staging.streams import ListStream, number, of_type, text

HASHER = KeyHasher("a hash key for the tests")
ONE_BEYOND = 2**61 - 1
"""Python's hash() of this number is that of 0."""


def check(
    rows: Sequence[tuple[object, ...]],
    folder: StagingPath,
    columns: Sequence[SourceColumn] = (number("k"),),
    *,
    key: Sequence[str] = ("k",),
    batch_rows: int = 3,
    row_limit: int | None = None,
) -> None:
    chunks = [rows[start : start + 2] for start in range(0, len(rows), 2)]
    stream = ListStream(columns, chunks)
    watch = KeyWatch(stream.columns, key)
    batches = write_batches(stream, folder, batch_rows=batch_rows, row_limit=row_limit, watch=watch)
    watch.check(batches, folder, HASHER)


def refusal(rows: Sequence[tuple[object, ...]], folder: StagingPath, *columns: SourceColumn, **how: object) -> str:
    with pytest.raises(KeyRefused) as refused:
        check(rows, folder, columns or (number("k"),), **how)  # type: ignore[arg-type]
    return str(refused.value)


def test_keys_that_repeat_are_counted_and_named_by_their_hash(folder: StagingPath) -> None:
    message = refusal([(1,), (2,), (3,), (2,), (5,), (2,), (1,)], folder)
    assert "3 rows have the key of another row" in message
    assert HASHER((1,)) in message
    assert HASHER((2,)) in message
    assert HASHER((3,)) not in message
    assert "the key k does not name one row" in message


def test_keys_that_are_null_are_counted(folder: StagingPath) -> None:
    message = refusal([(1,), (None,), (3,), (None,)], folder)
    assert "2 rows have NULL in it" in message
    assert "another row" not in message


def test_a_key_of_several_columns_is_null_when_one_is(folder: StagingPath) -> None:
    rows = [(1, "a"), (None, "b"), (2, None), (None, "b"), (1, "c"), (1, "a")]
    message = refusal(rows, folder, number("k"), text("t"), key=("k", "t"))
    assert "the key k, t" in message
    assert f"3 rows have NULL in it ({HASHER((None, 'b'))}, {HASHER((2, None))})" in message
    assert f"1 rows have the key of another row ({HASHER((1, 'a'))})" in message


def test_a_message_names_a_few_keys_and_no_value(folder: StagingPath) -> None:
    rows = [(f"zoe{place % 400}@example.com",) for place in range(1000)]
    message = refusal(rows, folder, text("k"), batch_rows=100)
    assert "600 rows have the key of another row" in message
    assert "zoe" not in message  # no letters of a hash
    assert message.count(",") == KEYS_NAMED  # those between the keys, and one of the sentence


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (text("k"), ["a", "A", "\u00e4", "a\u0308", "a ", ""]),
        (number("k"), [-1, -2, 0, ONE_BEYOND, -ONE_BEYOND, 1]),
        (of_type("k", FIELD_TYPE.DOUBLE), [0.0, -0.0, 0.1]),
        (of_type("k", FIELD_TYPE.NEWDECIMAL, decimals=2), [Decimal("1.50"), Decimal("1.05"), Decimal("-1.50")]),
        (of_type("k", FIELD_TYPE.DATE), [date(2026, 1, 13), date(2026, 1, 31)]),
    ],
    ids=["text", "integer", "double", "decimal", "date"],
)
def test_keys_that_differ_in_a_character_are_different(
    column: SourceColumn, values: list[object], folder: StagingPath
) -> None:
    check([(value,) for value in values], folder, [column])
    twice = refusal([(value,) for value in [*values, values[0]]], folder, column)
    assert "1 rows have the key of another row" in twice


def test_a_key_of_several_columns_does_not_depend_on_where_one_ends(folder: StagingPath) -> None:
    check([("a", "bc"), ("ab", "c"), ("a', 'b", "c")], folder, [text("k"), text("t")], key=("k", "t"))


def test_the_hash_named_is_the_one_results_have(folder: StagingPath) -> None:
    moment = datetime(2026, 1, 13, 8)  # noqa: DTZ001 - as the driver gives it
    message = refusal([(moment,), (moment,)], folder, of_type("k", FIELD_TYPE.DATETIME))
    assert HASHER((moment.replace(tzinfo=UTC),)) in message


@pytest.mark.parametrize("rows", [[], [(1,)], [(place,) for place in range(11)]])
def test_unique_keys_pass(rows: list[tuple[object, ...]], folder: StagingPath) -> None:
    check(rows, folder)


def test_rows_beyond_the_row_limit_are_not_looked_at(folder: StagingPath) -> None:
    check([(1,), (2,), (3,), (3,), (None,)], folder, row_limit=3)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=12), st.integers(1, 5))
def test_it_refuses_what_a_set_would(values: list[int | None], batch_rows: int) -> None:
    folder = UPath("memory://keys/run")
    rows = [(value,) for value in values]
    given_keys = [value for value in values if value is not None]
    repeated = len(given_keys) - len(set(given_keys))
    if len(given_keys) == len(values) and not repeated:
        check(rows, folder, batch_rows=batch_rows)
        return
    message = refusal(rows, folder, batch_rows=batch_rows)
    assert (f"{len(values) - len(given_keys)} rows have NULL" in message) is (len(given_keys) < len(values))
    assert (f"{repeated} rows have the key of another row" in message) is (repeated > 0)


@pytest.mark.parametrize(
    ("emails", "apart"),
    [
        ([], 0),
        (["a@x.org", "b@x.org", "c@x.org"], 0),
        (["a@x.org", "A@X.org", "b@x.org"], 0),
        (["a@x.org", "b@x.org", "A@X.org"], 1),
        (["a@x.org", "b@x.org", "a@x.org", "a@x.org", "a@x.org"], 2),
        ([None, "", None, "", None], 0),
    ],
)
def test_rows_of_a_person_in_several_batches_are_counted(
    emails: list[str | None], apart: int, folder: StagingPath
) -> None:
    stream = ListStream([text("email")], [[(email,)] for email in emails])
    watch = PersonWatch(stream.columns, ["email"])
    batches = write_batches(stream, folder, batch_rows=2, watch=watch)
    assert watch.apart(batches) == apart
