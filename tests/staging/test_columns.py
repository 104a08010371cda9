from __future__ import annotations

import pyarrow as pa
import pytest
from MySQLdb.constants import FIELD_TYPE, FLAG

from reverse_etl.errors import SourceError
from reverse_etl.staging.columns import Description, SourceColumn, arrow_schema, describe_columns, record_batch
from tests.staging.streams import number, of_type, text

PERSONAL = "anna.kowalska@example.com"


def described(*names: str) -> tuple[SourceColumn, ...]:
    entries: list[Description] = [(name, FIELD_TYPE.LONG, 0, 11, 11, 0, 1) for name in names]
    return describe_columns(entries, [0] * len(names), [int] * len(names))


@pytest.mark.parametrize("name", ["COUNT(*)", "1", "a + b", "2026-01-13 00:00:00", "", "first name", PERSONAL])
def test_a_column_without_a_usable_name_is_refused_by_its_place_alone(name: str) -> None:
    with pytest.raises(SourceError, match="column 2 of the result .* give it an alias") as caught:
        described("id", name)

    assert not name or name not in str(caught.value).replace("column 2 of the result", "")


def test_two_columns_with_one_name_are_refused_by_name() -> None:
    with pytest.raises(SourceError, match="more than one column named 'id'; give each its own alias"):
        described("id", "email", "id")


@pytest.mark.parametrize("name", ["id", "_x", "prénom", "a$b", "名前", "a1"])
def test_a_word_is_a_usable_name(name: str) -> None:
    assert described(name)[0].name == name


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (number("age"), PERSONAL),
        (number("age"), 2**70),
        (of_type("age", FIELD_TYPE.TINY), 300),
        (of_type("age", FIELD_TYPE.DATE), PERSONAL),
        (of_type("age", FIELD_TYPE.DATETIME), PERSONAL),
        (of_type("age", FIELD_TYPE.DOUBLE), PERSONAL),
        (of_type("age", FIELD_TYPE.NEWDECIMAL), PERSONAL),
        (text("age"), 31337),
    ],
)
def test_a_value_of_another_type_is_refused_without_being_shown(column: SourceColumn, value: object) -> None:
    with pytest.raises(SourceError, match="column 'age' has values that do not fit the type") as caught:
        record_batch([(None,), (value,)], arrow_schema([column]))

    assert str(value) not in str(caught.value)
    assert type(value).__name__ in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_type_of_every_integer_follows_its_size_and_sign() -> None:
    codes = (FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG)
    entries: list[Description] = [(f"c{code}", code, 0, 11, 11, 0, 1) for code in codes]

    signed = arrow_schema(describe_columns(entries, [0] * 5, [int] * 5))
    unsigned = arrow_schema(describe_columns(entries, [FLAG.UNSIGNED] * 5, [int] * 5))

    assert signed.types == [pa.int8(), pa.int16(), pa.int32(), pa.int32(), pa.int64()]
    assert unsigned.types == [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint32(), pa.uint64()]


def test_no_rows_make_an_empty_batch_with_the_schema() -> None:
    schema = arrow_schema([number("id"), text("email")])

    batch = record_batch([], schema)

    assert (batch.num_rows, batch.schema) == (0, schema)
