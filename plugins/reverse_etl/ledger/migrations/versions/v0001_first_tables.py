"""The first tables of the ledger.

Every step may find its work done: MySQL commits each table at once, so a migration cut short leaves some behind.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OUTCOMES = ("delivered", "unchanged", "invalid", "rejected", "suppressed", "failed")


def upgrade() -> None:
    """Create all tables and the labels of the outcomes."""
    _create_labels()
    _create_runs()
    _create_outcomes()
    _create_row_states()
    _create_quarantine()
    _create_rate_budgets()


def downgrade() -> None:
    """Remove everything the ledger knows."""
    for table in ("rate_budgets", "quarantine", "row_states", "outcomes", "runs", "labels"):
        op.drop_table(table, if_exists=True)


def _text(length: int) -> sa.types.TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


def _hash() -> sa.types.TypeEngine[str]:
    narrow = mysql.CHAR(32, charset="ascii", collation="ascii_bin")
    return sa.CHAR(32).with_variant(narrow, "mysql", "mariadb")


def _create_labels() -> None:
    op.create_table(
        "labels",
        sa.Column("id", sa.Integer, sa.Identity(start=100), primary_key=True),
        sa.Column("name", _text(190), nullable=False),
        sa.UniqueConstraint("name", name="labels_name"),
        if_not_exists=True,
    )
    bind = op.get_bind()
    labels = sa.table("labels", sa.column("id", sa.Integer), sa.column("name", sa.String))
    present = set(bind.scalars(sa.select(labels.c.id)))
    missing = [{"id": number, "name": name} for number, name in enumerate(OUTCOMES, 1) if number not in present]
    if missing:
        bind.execute(sa.insert(labels), missing)


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("dag_id", _text(250), nullable=False),
        sa.Column("run_id", _text(250), nullable=False),
        sa.Column("sync", _text(190), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("run_day", sa.Date, nullable=False),
        sa.Column("window_days", sa.Integer, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.BigInteger),
        sa.Column("rows_read", sa.BigInteger),
        *(sa.Column(outcome, sa.BigInteger) for outcome in OUTCOMES),
        sa.UniqueConstraint("dag_id", "run_id", "sync", "attempt", name="runs_attempt"),
        if_not_exists=True,
    )


def _create_outcomes() -> None:
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


def _create_row_states() -> None:
    op.create_table(
        "row_states",
        sa.Column("sync", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("row_key", _hash(), primary_key=True),
        sa.Column("call_kind", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("fingerprint", _hash()),
        sa.Column("delivered_at", sa.BigInteger),
        sa.Column("tried_at", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.SmallInteger, nullable=False),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )


def _create_quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("sync", _text(190), primary_key=True),
        sa.Column("row_key", _hash(), primary_key=True),
        sa.Column("call_kind", _text(190), primary_key=True),
        sa.Column("outcome", _text(16), nullable=False),
        sa.Column("code", _text(100), nullable=False),
        sa.Column("status", sa.SmallInteger),
        sa.Column("request_id", _text(64)),
        sa.Column("first_seen", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("attempt_id", sa.Integer, nullable=False),
        if_not_exists=True,
    )


def _create_rate_budgets() -> None:
    op.create_table(
        "rate_budgets",
        sa.Column("account", _hash(), primary_key=True),
        sa.Column("endpoint", _text(190), primary_key=True),
        sa.Column("next_free", sa.BigInteger, nullable=False),
        sa.Column("paused_until", sa.BigInteger, nullable=False),
        sa.Column("count_day", sa.Integer, nullable=False),
        sa.Column("day_count", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
