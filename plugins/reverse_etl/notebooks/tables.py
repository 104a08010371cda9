"""Records as a table of plain text."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import orjson

from reverse_etl.cli.screen import Screen


def print_table(what: str, columns: Sequence[str], records: Sequence[Mapping[str, object]]) -> None:
    """Print records and an empty line, all their fields where no columns are chosen; say so when there are none."""
    screen = Screen(sys.stdout, sys.stderr)
    if not records:
        screen.say(f"no {what}\n")
        return
    chosen = columns or tuple(records[0])
    rows = [[_cell(_inside(record, column)) for column in chosen] for record in records]
    screen.table(chosen, rows)
    screen.say("")


def _inside(record: object, name: str) -> object:
    """Return the value a name leads to, None where there is none; names with dots in them come first."""
    if not isinstance(record, Mapping):
        return None
    if name in record:
        return record[name]
    first, dot, rest = name.partition(".")
    return _inside(record.get(first), rest) if dot else None


def _cell(value: object) -> object:
    is_plain = value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))
    return value if is_plain else orjson.dumps(value).decode()
