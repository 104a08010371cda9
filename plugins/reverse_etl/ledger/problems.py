"""Database errors as errors of the package: what happened and what to do, never the driver's words.

Drivers put values into their messages ("Duplicate entry 'someone@...'"), so only error numbers are read, and the text
only where a driver gives no number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from reverse_etl.errors import ConfigurationError, LedgerUnavailable, ReverseEtlError


@dataclass(frozen=True, slots=True)
class _Cause:
    words: str
    lasting: bool = False
    """Whether it stays until somebody changes something."""


_LOCKED = _Cause("it stayed locked for too long; look for a transaction that is held open, then run the task again")
_UNREACHABLE = _Cause("it cannot be reached or went away; check that it runs, then run the task again")
_FULL = _Cause("its disk is full; free some space, then run the task again")
_CROWDED = _Cause("it takes no more connections; raise its limit or run fewer tasks at once")
_NOT_WRITABLE = _Cause("it may not be written; check who owns the file and its folder, or the user's rights", True)
_REFUSED = _Cause("it refuses the user or the password; check the connection", True)
_ABSENT = _Cause("there is no database of that name; create it or check the connection", True)
_DAMAGED = _Cause("the file is damaged or no SQLite database; move it away, a new one is made", True)
_OTHER_SCHEMA = _Cause("its tables are not those of the ledger; give the ledger a database of its own", True)
_UNKNOWN = _Cause("the statement failed; see the database's own log, then run the task again")

_SQLITE = {
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR_SHMSIZE": _FULL,
    "SQLITE_READONLY": _NOT_WRITABLE,
    "SQLITE_CANTOPEN": _NOT_WRITABLE,
    "SQLITE_PERM": _NOT_WRITABLE,
    "SQLITE_AUTH": _NOT_WRITABLE,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_ERROR": _OTHER_SCHEMA,
}

# https://dev.mysql.com/doc/mysql-errors/8.4/en/ and https://mariadb.com/kb/en/mariadb-error-code-reference/
_MYSQL = {
    **dict.fromkeys((1205, 1213, 3572), _LOCKED),
    **dict.fromkeys((2002, 2003, 2005, 2006, 2013, 2055, 1053, 1927), _UNREACHABLE),
    **dict.fromkeys((1021, 1114, 3675), _FULL),
    **dict.fromkeys((1040, 1203, 1226), _CROWDED),
    **dict.fromkeys((1142, 1143, 1290, 1792, 1227), _NOT_WRITABLE),
    **dict.fromkeys((1044, 1045, 1698, 1130), _REFUSED),
    1049: _ABSENT,
    **dict.fromkeys((1054, 1146, 1050), _OTHER_SCHEMA),
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html, the longest prefix counts
_POSTGRESQL = {
    "40": _LOCKED,
    "55P03": _LOCKED,
    "57014": _LOCKED,
    "08": _UNREACHABLE,
    "57P": _UNREACHABLE,
    "53100": _FULL,
    "53300": _CROWDED,
    "25006": _NOT_WRITABLE,
    "42501": _NOT_WRITABLE,
    "28": _REFUSED,
    "3D": _ABSENT,
    "42P01": _OTHER_SCHEMA,
    "42703": _OTHER_SCHEMA,
}

# A connection that psycopg could not open has no SQLSTATE. The server may answer in another language: then unknown.
_POSTGRESQL_WORDS = (
    (r"authentication failed|no password supplied|role .* does not exist|no pg_hba", _REFUSED),
    (r"database .* does not exist", _ABSENT),
    (r"too many (clients|connections)|remaining connection slots", _CROWDED),
)

CONFLICTS = (1213, "40001", "40P01")
"""Deadlocks and failed serialisations: the transaction is rolled back and may run again at once."""


def translated(error: SQLAlchemyError, place: str, doing: str) -> ReverseEtlError:
    """Return the error of the package for one of the database at `place`, met while `doing` something."""
    number = error_number(error)
    cause = _cause(error, number)
    told = f" (error {number})" if number is not None else f" ({type(_original(error)).__name__})"
    message = f"the ledger at {place} could not {doing}: {cause.words}{told}"
    return ConfigurationError(message) if cause.lasting else LedgerUnavailable(message)


def may_repeat(error: SQLAlchemyError) -> bool:
    """Return whether the transaction lost against another or its connection was gone, and may run again."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or error_number(error) in CONFLICTS


def error_number(error: SQLAlchemyError) -> int | str | None:
    """Return MySQL's error number, PostgreSQL's SQLSTATE or SQLite's error name, None when the driver gives none."""
    original = _original(error)
    for attribute in ("sqlite_errorname", "sqlstate"):
        found = getattr(original, attribute, None)
        if found:
            return str(found)
    if original.args and isinstance(original.args[0], int):
        return original.args[0]
    return None


def _original(error: SQLAlchemyError) -> BaseException:
    return (error.orig if isinstance(error, DBAPIError) else None) or error


def _cause(error: SQLAlchemyError, number: int | str | None) -> _Cause:
    if isinstance(number, int):
        return _MYSQL.get(number, _UNKNOWN)
    if number is None:
        return _cause_in_words(error)
    if number.startswith("SQLITE_"):
        # SQLite's extended names begin with the plain one: SQLITE_BUSY_SNAPSHOT.
        return _SQLITE.get(number) or _SQLITE.get("_".join(number.split("_")[:2]), _UNKNOWN)
    found = [length for length in (5, 3, 2) if number[:length] in _POSTGRESQL]
    return _POSTGRESQL[number[: found[0]]] if found else _UNKNOWN


def _cause_in_words(error: SQLAlchemyError) -> _Cause:
    words = str(_original(error))
    for pattern, cause in _POSTGRESQL_WORDS:
        if re.search(pattern, words, re.IGNORECASE):
            return cause
    return _UNREACHABLE
