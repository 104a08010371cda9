"""Outcomes by request instead of by call: a table of marks, and a view that shows a line per call as the table did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ROWS_PER_MARK = 5_000

SHARED = ("attempt_id", "batch", "call_kind", "outcome", "code", "status", "tries", "request_id", "at")
ROW = ("place", "row_key", "fingerprint")

MARKS = sa.table("marks", *map(sa.column, (*SHARED, "calls", "marked_rows")))
OUTCOMES = sa.table("outcomes", *map(sa.column, (*SHARED, *ROW)))

ROWS_IN_SQL = {
    "sqlite": (
        "json_each(m.marked_rows) AS came",
        ("json_extract(came.value, '$[0]')", "json_extract(came.value, '$[1]')", "json_extract(came.value, '$[2]')"),
    ),
    "mysql": (
        "JSON_TABLE(m.marked_rows, '$[*]' COLUMNS (place INT PATH '$[0]', "
        "row_key VARCHAR(32) CHARACTER SET utf8mb4 PATH '$[1]', "
        "fingerprint VARCHAR(32) CHARACTER SET utf8mb4 PATH '$[2]')) AS came",
        ("came.place", "came.row_key", "came.fingerprint"),
    ),
    "postgresql": (
        "LATERAL json_array_elements(m.marked_rows::json) AS came (row_of_mark)",
        ("(came.row_of_mark->>0)::integer", "came.row_of_mark->>1", "came.row_of_mark->>2"),
    ),
}


def upgrade() -> None:
    """Create the table, bring over what the other one had, and put the view in its place.

    A migration cut short may have left any part of it behind.
    """
    bind = op.get_bind()
    op.create_table(
        "marks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("attempt_id", sa.Integer, nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("call_kind", sa.Integer, nullable=False),
        sa.Column("outcome", sa.SmallInteger, nullable=False),
        sa.Column("code", sa.Integer, nullable=False),
        sa.Column("status", sa.SmallInteger),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("request_id", _text(64)),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("marked_rows", _long_ascii(), nullable=False),
        if_not_exists=True,
    )
    if not any(index["name"] == "marks_batch" for index in sa.inspect(bind).get_indexes("marks")):
        op.create_index("marks_batch", "marks", ["attempt_id", "batch"])
    if sa.inspect(bind).has_table("outcomes") and "outcomes" not in sa.inspect(bind).get_view_names():
        bind.execute(sa.delete(MARKS))
        for marks in _converted(bind):
            bind.execute(sa.insert(MARKS), marks)
        op.drop_table("outcomes")
    op.execute("DROP VIEW IF EXISTS outcomes")
    op.execute(_view(bind.dialect.name))


def downgrade() -> None:
    """Forget all outcomes: runs that are under way then send again."""
    op.execute("DROP VIEW IF EXISTS outcomes")
    op.drop_table("marks", if_exists=True)
    op.create_table(
        "outcomes",
        sa.Column("attempt_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("call_kind", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("row_key", _hash(), primary_key=True),
        sa.Column("code", sa.Integer, nullable=False),
        sa.Column("status", sa.SmallInteger),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("request_id", _text(64)),
        sa.Column("fingerprint", _hash()),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.SmallInteger, nullable=False),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )


def _view(dialect: str) -> str:
    source, values = ROWS_IN_SQL[dialect]
    place, row_key, fingerprint = values
    join = "CROSS JOIN" if dialect == "postgresql" else "JOIN"
    return (
        "CREATE VIEW outcomes AS SELECT m.attempt_id AS attempt_id, m.batch AS batch, m.call_kind AS call_kind, "  # noqa: S608 - names of ours
        f"{place} AS place, {row_key} AS row_key, m.code AS code, m.status AS status, m.tries AS tries, "
        f"m.request_id AS request_id, {fingerprint} AS fingerprint, m.at AS at, m.outcome AS outcome, m.id AS mark_id "
        f"FROM marks m {join} {source}"
    )


def _converted(bind: sa.Connection) -> Iterator[list[dict[str, Any]]]:
    """Yield the marks of each batch there was."""
    batches = bind.execute(sa.select(OUTCOMES.c.attempt_id, OUTCOMES.c.batch).distinct()).all()
    for attempt, batch in batches:
        query = sa.select(OUTCOMES).where(OUTCOMES.c.attempt_id == attempt, OUTCOMES.c.batch == batch)
        yield list(_marks(bind.execute(query.order_by(OUTCOMES.c.place)).mappings().all()))


def _marks(outcomes: Sequence[sa.RowMapping]) -> Iterator[dict[str, Any]]:
    shared = itemgetter(*SHARED)
    groups: dict[Any, list[tuple[Any, ...]]] = {}
    for outcome in outcomes:
        groups.setdefault(shared(outcome), []).append(itemgetter(*ROW)(outcome))
    for facts, rows in groups.items():
        for some in (rows[start : start + ROWS_PER_MARK] for start in range(0, len(rows), ROWS_PER_MARK)):
            yield {
                **dict(zip(SHARED, facts, strict=True)),
                "calls": len(some),
                "marked_rows": orjson.dumps(some).decode(),
            }


def _text(length: int) -> sa.types.TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


def _long_ascii() -> sa.types.TypeEngine[str]:
    exact = mysql.MEDIUMTEXT(charset="ascii", collation="ascii_bin")
    return sa.Text().with_variant(exact, "mysql", "mariadb")


def _hash() -> sa.types.TypeEngine[str]:
    narrow = mysql.CHAR(32, charset="ascii", collation="ascii_bin")
    return sa.CHAR(32).with_variant(narrow, "mysql", "mariadb")
