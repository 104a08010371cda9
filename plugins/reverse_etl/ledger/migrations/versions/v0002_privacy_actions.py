"""The audit record of what was asked for people's privacy."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDICES = {"privacy_actions_person": "person", "privacy_actions_at": "at"}


def upgrade() -> None:
    """Create the table and its indices, each of which a migration cut short may have left behind."""
    op.create_table(
        "privacy_actions",
        sa.Column("job", _text(250), primary_key=True),
        sa.Column("account", _hash(), primary_key=True),
        sa.Column("action", _text(16), primary_key=True),
        sa.Column("person", _hash(), primary_key=True),
        sa.Column("connection", _text(190), nullable=False),
        sa.Column("asked_by", _text(190), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("outcome", _text(16), nullable=False),
        sa.Column("code", _text(100), nullable=False),
        sa.Column("status", sa.SmallInteger),
        sa.Column("request_id", _text(64)),
        sa.Column("tries", sa.Integer, nullable=False),
        if_not_exists=True,
    )
    present = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("privacy_actions")}
    for name, column in INDICES.items():
        # MySQL knows no IF NOT EXISTS for an index.
        if name not in present:
            op.create_index(name, "privacy_actions", [column])


def downgrade() -> None:
    """Remove the audit record."""
    op.drop_table("privacy_actions", if_exists=True)


def _text(length: int) -> sa.types.TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


def _hash() -> sa.types.TypeEngine[str]:
    narrow = mysql.CHAR(32, charset="ascii", collation="ascii_bin")
    return sa.CHAR(32).with_variant(narrow, "mysql", "mariadb")
