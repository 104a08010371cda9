"""A SQL file as one statement: comments removed, placeholders checked, parameters made ready to bind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from reverse_etl.errors import SourceError

# A hint or version comment (/*+ */, /*! */, /*M! */) belongs to the statement; a quoted text may hold any
# mark.
_TOKENS = re.compile(
    r"""
    (?P<kept> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `[^`]*` | /\*(?:\+|M?!).*?\*/ )
    | (?P<comment> --(?=\s|\Z)[^\n]* | \#[^\n]* | /\*.*?\*/ )
    | (?P<end> ; )
    """,
    re.VERBOSE | re.DOTALL,
)
_READS = re.compile(r"[(\s]*(?:SELECT|WITH|VALUES|TABLE)\b", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"%(?:%|\((?P<name>\w+)\)s|)")


@dataclass(frozen=True)
class Statement:
    """One statement without comments; `first_line` is the line of the file (from 1) on which it starts."""

    text: str
    first_line: int

    def line(self, number: int) -> str:
        """Return line `number` (from 1) of the statement, without its indentation; empty if there is none."""
        lines = self.text.split("\n")
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""

    @property
    def placeholders(self) -> frozenset[str]:
        """The names of the parameters it uses."""
        return frozenset(mark["name"] for mark in _PLACEHOLDER.finditer(self.text) if mark["name"])


def read_statement(sql: str, names: Mapping[str, object]) -> Statement:
    """Read the text of a SQL file; `names` are the parameters its `%(name)s` placeholders may use.

    A comment leaves its line ends behind, so that line numbers stay those of the file. A `;` at the end is
    allowed.

    Raises SourceError for an empty file, several statements, a statement that does not read, an unknown
    placeholder and a `%` that is not a placeholder.
    """
    plain, ends = _without_comments(sql.lstrip("\ufeff"))
    text = plain.strip()
    if not text:
        raise SourceError("the SQL file holds no statement; write one SELECT into it")
    if ends and plain[ends[0] :].strip():
        raise SourceError(
            f"the SQL file holds a second statement, after the ';' on line {_line(plain, ends[0])}; "
            "keep one SELECT per file"
        )
    if not _READS.match(text):
        raise SourceError("the SQL file must hold a query: a statement that starts with SELECT or WITH")
    _check_placeholders(plain, names)
    return Statement(text, first_line=_line(plain, len(plain) - len(plain.lstrip())))


def bindable(parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters as MySQLdb binds them: aware datetimes as naive ones in UTC, the session's time zone.

    MySQLdb knows exact classes only and would send anything else, such as pendulum's dates, as its text.

    Raises SourceError for a datetime without a time zone and for a value that is not text, bytes, a number, a
    date, a datetime, a timedelta or None.
    """
    return {name: _bindable(name, value) for name, value in parameters.items()}


def _without_comments(sql: str) -> tuple[str, list[int]]:
    """Return the SQL with comments and `;` blanked out, and where in it each `;` stood."""
    parts: list[str] = []
    ends: list[int] = []
    length = 0
    position = 0
    for token in _TOKENS.finditer(sql):
        replacement = token.group() if token["kept"] else "\n" * token.group().count("\n") or " "
        before = sql[position : token.start()]
        length += len(before)
        if token["end"]:
            ends.append(length)
        length += len(replacement)
        parts += [before, replacement]
        position = token.end()
    return "".join([*parts, sql[position:]]), ends


def _check_placeholders(text: str, names: Mapping[str, object]) -> None:
    allowed = ", ".join(sorted(names)) or "none"
    for mark in _PLACEHOLDER.finditer(text):
        line = _line(text, mark.start())
        if mark.group() == "%":
            raise SourceError(
                f"line {line} of the SQL file has a '%' that is not a parameter; write '%%' for a percent "
                f"sign and '%(name)s' for a parameter (available: {allowed})"
            )
        if mark["name"] and mark["name"] not in names:
            raise SourceError(
                f"line {line} of the SQL file uses the parameter {mark['name']!r}, which is not given "
                f"(available: {allowed})"
            )


def _bindable(name: str, value: object) -> object:
    match value:
        case None | bool() | float() | Decimal() | bytes() | timedelta():
            return value
        case datetime():
            return _naive_utc(name, value)
        case date():
            return date(value.year, value.month, value.day)
        case int():
            return int(value)
        case str():
            return str.__str__(value)
        case _:
            raise SourceError(
                f"the parameter {name!r} is of the type {type(value).__name__}; "
                "give text, a number, a date or an aware datetime"
            )


def _naive_utc(name: str, value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise SourceError(f"the parameter {name!r} is a datetime without a time zone; give it one, such as UTC")
    moment = value.astimezone(UTC)
    return datetime.combine(moment.date(), moment.time())


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
