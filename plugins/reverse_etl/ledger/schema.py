"""The tables. Migrations create them; a test keeps the two and docs/ledger.md equal.

- Moments are microseconds since 1970-01-01 UTC in a BIGINT. SQLite has no type for them, MySQL's has no time zone and
  drops fractions by default: a number is the same in all three databases and compares as it should.
- Hashes and fingerprints are 32 hexadecimal characters: bytes have no place in the JSON in which rows are written.
- `marks` grows with the requests, not with the rows: what the calls of a request have in common is there once, and the
  rows are one JSON text that is taken apart when somebody asks. The view `outcomes` shows a line per call.
- No column has a name that is a reserved word somewhere, so that one query runs on all three.
- In `marks` and `row_states`, which are large, words are numbers, explained by `labels`; the tables people look into
  hold the words. For the same reason nothing has a foreign key: millions of inserts would each check one.
"""

from __future__ import annotations

from sqlalchemy import (
    CHAR,
    BigInteger,
    Column,
    Date,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    or_,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.records import (
    LONGEST_CODE,
    LONGEST_NAME,
    LONGEST_REQUEST_ID,
    LONGEST_RUN_NAME,
    WHOLE_ROW,
)

VERSION_TABLE = "ledger_version"
"""Not Alembic's default, which is Airflow's table where somebody lets the two share a database."""

HEAD = "0006"
"""The version of the schema this code works with."""

OUTCOME_NUMBERS = {
    Outcome.DELIVERED: 1,
    Outcome.UNCHANGED: 2,
    Outcome.INVALID: 3,
    Outcome.REJECTED: 4,
    Outcome.SUPPRESSED: 5,
    Outcome.FAILED: 6,
}
"""As stored; the first labels are these words under these numbers. A number is never given another meaning."""

OUTCOME_OF = {number: outcome for outcome, number in OUTCOME_NUMBERS.items()}

DELIVERED = OUTCOME_NUMBERS[Outcome.DELIVERED]

FIRST_FREE_LABEL = 100

LONGEST_INTEGER = 20
"""Characters of MySQL's integers, which go beyond those of the other databases."""

METADATA = MetaData()


def _text(length: int) -> TypeEngine[str]:
    """Text that differs where a byte differs, which MySQL's default does not grant."""
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(exact, "mysql", "mariadb")


def _hash() -> TypeEngine[str]:
    """32 hexadecimal characters."""
    narrow = mysql.CHAR(32, charset="ascii", collation="ascii_bin")
    return CHAR(32).with_variant(narrow, "mysql", "mariadb")


def _long_text() -> TypeEngine[str]:
    """Text of any length; MySQL's TEXT ends at 64 KB."""
    return Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _long_ascii() -> TypeEngine[str]:
    """As `_long_text`, of digits, letters and brackets: a byte each."""
    return Text().with_variant(mysql.MEDIUMTEXT(charset="ascii", collation="ascii_bin"), "mysql", "mariadb")


def _large_number() -> TypeEngine[int]:
    """Of rows of which 32 bits number those of some years only, where each call is one; SQLite always has 64."""
    return BigInteger().with_variant(Integer(), "sqlite")


LABELS = Table(
    "labels",
    METADATA,
    Column("id", Integer, Identity(start=FIRST_FREE_LABEL), primary_key=True),
    Column("name", _text(LONGEST_NAME), nullable=False),
    UniqueConstraint("name", name="labels_name"),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("id", Integer, Identity(), primary_key=True),
    Column("dag_id", _text(LONGEST_RUN_NAME), nullable=False),
    Column("run_id", _text(LONGEST_RUN_NAME), nullable=False),
    Column("sync", _text(LONGEST_NAME), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("run_day", Date, nullable=False),
    Column("window_days", Integer, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("finished", BigInteger),
    Column("rows_read", BigInteger),
    *(Column(outcome.value, BigInteger) for outcome in OUTCOME_NUMBERS),
    UniqueConstraint("dag_id", "run_id", "sync", "attempt", name="runs_attempt"),
)

MARKS = Table(
    "marks",
    METADATA,
    Column("id", _large_number(), Identity(), primary_key=True),
    Column("attempt_id", Integer, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("call_kind", Integer, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("code", Integer, nullable=False),
    Column("status", SmallInteger),
    Column("tries", Integer, nullable=False),
    Column("request_id", _text(LONGEST_REQUEST_ID)),
    Column("at", BigInteger, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("marked_rows", _long_ascii(), nullable=False),
    Index("marks_batch", "attempt_id", "batch"),
)

ROW_STATES = Table(
    "row_states",
    METADATA,
    Column("sync", Integer, primary_key=True, autoincrement=False),
    Column("row_key", _hash(), primary_key=True),
    Column("call_kind", Integer, primary_key=True, autoincrement=False),
    Column("fingerprint", _hash()),
    Column("delivered_at", BigInteger),
    Column("tried_at", BigInteger, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("attempt_id", Integer, nullable=False, server_default="0"),
    Column("epoch", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

ABANDONED = -1
"""The epoch of a batch that is open for ever: its worker died, and its rows are known as maybe there."""

OPEN_BATCHES = Table(
    "open_batches",
    METADATA,
    Column("sync", Integer, primary_key=True, autoincrement=False),
    Column("attempt_id", Integer, primary_key=True, autoincrement=False),
    Column("batch", Integer, primary_key=True, autoincrement=False),
    Column("opened", BigInteger, nullable=False),
    Column("epoch", Integer),
)

NOT_CLOSED = or_(OPEN_BATCHES.c.epoch.is_(None), OPEN_BATCHES.c.epoch == ABANDONED)
"""Chooses batches that may have sent what nobody knows of."""

MAPPINGS = Table(
    "mappings",
    METADATA,
    Column("sync", Integer, primary_key=True, autoincrement=False),
    Column("digest", _hash(), primary_key=True),
    Column("mapping", _long_text(), nullable=False),
    Column("attempt_id", Integer, nullable=False),
)

QUARANTINE = Table(
    "quarantine",
    METADATA,
    Column("sync", _text(LONGEST_NAME), primary_key=True),
    Column("row_key", _hash(), primary_key=True),
    Column("call_kind", _text(LONGEST_NAME), primary_key=True, default=WHOLE_ROW),
    Column("outcome", _text(16), nullable=False),
    Column("code", _text(LONGEST_CODE), nullable=False),
    Column("status", SmallInteger),
    Column("request_id", _text(LONGEST_REQUEST_ID)),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("attempt_id", Integer, nullable=False),
)

RATE_BUDGETS = Table(
    "rate_budgets",
    METADATA,
    Column("account", _hash(), primary_key=True),
    Column("endpoint", _text(LONGEST_NAME), primary_key=True),
    Column("next_free", BigInteger, nullable=False),
    Column("paused_until", BigInteger, nullable=False),
    Column("count_day", Integer, nullable=False),
    Column("day_count", BigInteger, nullable=False),
)

PRIVACY_ACTIONS = Table(
    "privacy_actions",
    METADATA,
    Column("job", _text(LONGEST_RUN_NAME), primary_key=True),
    Column("account", _hash(), primary_key=True),
    Column("action", _text(16), primary_key=True),
    Column("person", _hash(), primary_key=True),
    Column("connection", _text(LONGEST_NAME), nullable=False),
    Column("asked_by", _text(LONGEST_NAME), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("outcome", _text(16), nullable=False),
    Column("code", _text(LONGEST_CODE), nullable=False),
    Column("status", SmallInteger),
    Column("request_id", _text(LONGEST_REQUEST_ID)),
    Column("tries", Integer, nullable=False),
    Index("privacy_actions_person", "person"),
    Index("privacy_actions_at", "at"),
)

WATERMARKS = Table(
    "watermarks",
    METADATA,
    Column("sync", _text(LONGEST_NAME), primary_key=True),
    Column("time_column", _text(LONGEST_NAME), nullable=False),
    Column("key_column", _text(LONGEST_NAME), nullable=False),
    Column("at_time", BigInteger),
    Column("at_key", _text(LONGEST_INTEGER)),
    Column("moved", BigInteger),
    Column("moved_by", _text(LONGEST_RUN_NAME)),
)

WATERMARK_READS = Table(
    "watermark_reads",
    METADATA,
    Column("dag_id", _text(LONGEST_RUN_NAME), primary_key=True),
    Column("run_id", _text(LONGEST_RUN_NAME), primary_key=True),
    Column("sync", _text(LONGEST_NAME), primary_key=True),
    Column("begun", BigInteger, nullable=False),
    Column("from_time", BigInteger),
    Column("from_key", _text(LONGEST_INTEGER)),
    Column("to_time", BigInteger),
    Column("to_key", _text(LONGEST_INTEGER)),
)

TURNS = Table(
    "turns",
    METADATA,
    Column("sync", _text(LONGEST_NAME), primary_key=True),
    Column("dag_id", _text(LONGEST_RUN_NAME), nullable=False),
    Column("run_id", _text(LONGEST_RUN_NAME), nullable=False),
    Column("until", BigInteger, nullable=False),
)
