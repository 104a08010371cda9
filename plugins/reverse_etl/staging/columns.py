"""Typed columns: from MySQL's description of a result to an Arrow schema, and from rows to record batches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from MySQLdb.constants import FIELD_TYPE, FLAG

from reverse_etl.errors import SourceError

_NAME = re.compile(r"[^\W\d][\w$]*")
_DECIMAL128_DIGITS = 38
_DECIMAL256_DIGITS = 76

Description = tuple[str, int, int, int, int, int, int]

_SIGNED: dict[int, pa.DataType] = {
    FIELD_TYPE.TINY: pa.int8(),
    FIELD_TYPE.SHORT: pa.int16(),
    FIELD_TYPE.INT24: pa.int32(),
    FIELD_TYPE.LONG: pa.int32(),
    FIELD_TYPE.LONGLONG: pa.int64(),
}
_UNSIGNED: dict[int, pa.DataType] = {
    FIELD_TYPE.TINY: pa.uint8(),
    FIELD_TYPE.SHORT: pa.uint16(),
    FIELD_TYPE.INT24: pa.uint32(),
    FIELD_TYPE.LONG: pa.uint32(),
    FIELD_TYPE.LONGLONG: pa.uint64(),
}
_FIXED: dict[int, pa.DataType] = {
    # FLOAT arrives as its shortest decimal text; 0.1 would become 0.10000000149 in 32 bits.
    FIELD_TYPE.FLOAT: pa.float64(),
    FIELD_TYPE.DOUBLE: pa.float64(),
    FIELD_TYPE.DATE: pa.date32(),
    FIELD_TYPE.DATETIME: pa.timestamp("us", tz="UTC"),
    FIELD_TYPE.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    FIELD_TYPE.TIME: pa.duration("us"),
    FIELD_TYPE.YEAR: pa.int16(),
}
_DECIMALS = (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL)


@dataclass(frozen=True)
class SourceColumn:
    """One column of a result.

    `type_code` is one of `MySQLdb.constants.FIELD_TYPE`, `length` the display width in characters, `decimals`
    the digits after the point. `is_text` says that MySQLdb decodes its values to str: TEXT and BLOB share a
    type code, and the BINARY flag is also set for texts with a `_bin` collation, so only the character set
    can tell.
    """

    name: str
    type_code: int
    length: int
    decimals: int
    is_unsigned: bool
    is_text: bool


def describe_columns(
    description: Sequence[Description], flags: Sequence[int], converters: Sequence[object]
) -> tuple[SourceColumn, ...]:
    """Return the columns of a MySQLdb result from its `describe()`, `field_flags()` and `converter`.

    Raises SourceError for a column without a usable name and for two columns with the same name.
    """
    columns = tuple(
        SourceColumn(
            name=entry[0],
            type_code=entry[1],
            length=entry[3],
            decimals=entry[5],
            is_unsigned=bool(flag & FLAG.UNSIGNED),
            is_text=converter is str or entry[1] == FIELD_TYPE.NULL,
        )
        for entry, flag, converter in zip(description, flags, converters, strict=True)
    )
    _check_names([column.name for column in columns])
    return columns


def arrow_schema(columns: Sequence[SourceColumn]) -> pa.Schema:
    """Return the Arrow schema of a result; every field may be null, as a zero date becomes null."""
    return pa.schema([pa.field(column.name, _arrow_type(column)) for column in columns])


def record_batch(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.RecordBatch:
    """Turn rows into one record batch; naive datetimes are taken as UTC, the session's time zone.

    Raises SourceError that names the column, its type and the types found, never a value.
    """
    values = zip(*rows, strict=True) if rows else ((),) * len(schema)
    arrays = [_array(field, column) for field, column in zip(schema, values, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(field: pa.Field[Any], values: Sequence[object]) -> pa.Array[Any]:
    try:
        array: pa.Array[Any] = pa.array(values, type=field.type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        found = ", ".join(sorted({type(value).__name__ for value in values if value is not None}))
        raise SourceError(
            f"column {field.name!r} has values that do not fit the type {field.type} MySQL announced "
            f"(Python types found: {found}); CAST the column in the query"
        ) from None
    return array


def _arrow_type(column: SourceColumn) -> pa.DataType:
    integers = _UNSIGNED if column.is_unsigned else _SIGNED
    if kind := integers.get(column.type_code) or _FIXED.get(column.type_code):
        return kind
    if column.type_code in _DECIMALS:
        return _decimal_type(column)
    return pa.large_string() if column.is_text else pa.large_binary()


def _decimal_type(column: SourceColumn) -> pa.DataType:
    sign = 0 if column.is_unsigned else 1
    point = 1 if column.decimals else 0
    if column.length - sign - point <= _DECIMAL128_DIGITS:
        return pa.decimal128(_DECIMAL128_DIGITS, column.decimals)
    return pa.decimal256(_DECIMAL256_DIGITS, column.decimals)


def _check_names(names: Sequence[str]) -> None:
    for position, name in enumerate(names, start=1):
        # The server names an expression by its text, which may hold a parameter's value: it is not repeated.
        if not _NAME.fullmatch(name):
            raise SourceError(
                f"column {position} of the result is an expression without a name, or its name is not made "
                "of letters, digits and underscores; give it an alias: expression AS name"
            )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise SourceError(
            f"the result has more than one column named {', '.join(map(repr, repeated))}; "
            "give each its own alias: column AS name"
        )
