"""Whose turn it is to send the rows of a sync."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, which a migration cut short may have left behind."""
    op.create_table(
        "turns",
        sa.Column("sync", _text(190), primary_key=True),
        sa.Column("dag_id", _text(250), nullable=False),
        sa.Column("run_id", _text(250), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Forget whose turn it is: two runs of a sync may then send at once."""
    op.drop_table("turns", if_exists=True)


def _text(length: int) -> sa.types.TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")
