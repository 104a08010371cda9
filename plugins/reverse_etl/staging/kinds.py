"""Arrow types as the plain words a mapping is checked against."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import types

# In this order: a test further up wins.
_TESTS = (
    ("boolean", types.is_boolean),
    ("integer", types.is_integer),
    ("number", types.is_floating),
    ("number", types.is_decimal),
    ("datetime", types.is_timestamp),
    ("date", types.is_date),
    ("duration", types.is_duration),
    ("text", types.is_string),
    ("text", types.is_large_string),
)


def column_kinds(schema: pa.Schema) -> dict[str, str]:
    """Return integer, number, text, boolean, datetime, date, duration or binary for every column."""
    return {field.name: _kind(field.type) for field in schema}


def _kind(arrow_type: pa.DataType) -> str:
    return next((word for word, fits in _TESTS if fits(arrow_type)), "binary")
