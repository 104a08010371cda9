"""The errors of MySQL and MariaDB as errors of this package, without anything that may hold data.

Numbers from the reference of server errors
(https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html,
https://mariadb.com/kb/en/mariadb-error-code-reference/) and of client errors (the same, 2000 to 2999).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import MySQLdb

from reverse_etl.errors import SourceError, SourceUnavailable
from reverse_etl.staging.statement import Statement

_SYNTAX = 1064
_READ_ONLY = 1792

# Another try may find the server back, less busy, or not interrupted.
_UNAVAILABLE = frozenset(
    {
        *(
            1040,
            1042,
            1043,
            1129,
            1203,
            1226,
        ),  # too many connections, handshake failed, host or user over its limit
        *(1053, 1077, 1079, 1080, 1152, 1184),  # shutting down, connection aborted
        *(1158, 1159, 1160, 1161),  # reading or writing packets failed or timed out
        *(1205, 1213, 1317),  # lock wait timeout, deadlock, interrupted by KILL QUERY
        *(1927, 3168, 3169, 4031),  # connection killed, server not available, idle too long
        *(
            2001,
            2002,
            2003,
            2004,
            2005,
            2006,
            2011,
            2012,
            2013,
            2026,
            2027,
            2055,
        ),  # the client lost the server
    }
)
_CLIENT = range(2000, 3000)

# Server messages made of names from the query and the schema. Others, such as 1292 ("Truncated incorrect ...
# value"), quote data and are left out.
_NAMES_ONLY = frozenset(
    {
        *(1044, 1045, 1142, 1143, 1227, 1370, 1698),  # access denied
        *(
            1046,
            1049,
            1051,
            1052,
            1054,
            1055,
            1056,
            1066,
            1109,
            1140,
            1146,
            1176,
        ),  # unknown or ambiguous names
        *(
            1111,
            1128,
            1149,
            1222,
            1235,
            1241,
            1242,
            1247,
            1248,
            1267,
            1271,
        ),  # wrong use of functions and subqueries
        *(1305, 1356, 1370, 1582, 1583, 1584, 1630, 4015, 4018),
    }
)


@contextmanager
def source_errors(action: str, statement: Statement | None = None) -> Iterator[None]:
    """Turn MySQLdb's errors into SourceUnavailable or SourceError; `action` says what was being done."""
    try:
        yield
    except MySQLdb.Error as error:
        raise source_error(error, action, statement) from None
    except UnicodeDecodeError:
        raise SourceError(
            f"{action}: a text column holds bytes that are not valid in its character set; "
            "correct the data or select the column as HEX(column)"
        ) from None


def source_error(error: MySQLdb.Error, action: str, statement: Statement | None = None) -> SourceError:
    """Return the error to raise for one of MySQLdb, with the server's number and, when safe, its message."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    message = str(error.args[1]) if len(error.args) > 1 else ""
    if number in _UNAVAILABLE:
        return SourceUnavailable(f"{action}: the database is unavailable{_details(number, message)}")
    if number == _SYNTAX:
        return SourceError(f"{action}: {_syntax(message, statement)}")
    if number == _READ_ONLY:
        return SourceError(
            f"{action}: the statement would change data (MySQL error {number}); the SQL file must only read"
        )
    if number == 0:
        return SourceError(f"{action}: the connection is closed or in use; open a new one for each query")
    return SourceError(f"{action}: the database refused{_details(number, message)}; correct the query or its rights")


def _details(number: int, message: str) -> str:
    if number in _NAMES_ONLY or number in _CLIENT:
        return f" (MySQL error {number}: {message})"
    return f" (MySQL error {number})"


def _syntax(message: str, statement: Statement | None) -> str:
    """Quote the line from the file: the server quotes the statement with its parameters filled in."""
    found = re.search(r"at line (\d+)\s*$", message)
    if found is None or statement is None:
        return f"the SQL has a syntax error (MySQL error {_SYNTAX})"
    number = int(found[1])
    return (
        f"the SQL has a syntax error near line {number + statement.first_line - 1} of the file: "
        f"{statement.line(number)[:200]!r} (MySQL error {_SYNTAX})"
    )
