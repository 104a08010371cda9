"""How far incremental syncs have come, and what their runs read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, each of which a migration cut short may have left behind."""
    op.create_table(
        "watermarks",
        sa.Column("sync", _text(190), primary_key=True),
        sa.Column("time_column", _text(190), nullable=False),
        sa.Column("key_column", _text(190), nullable=False),
        sa.Column("at_time", sa.BigInteger),
        sa.Column("at_key", _text(20)),
        sa.Column("moved", sa.BigInteger),
        sa.Column("moved_by", _text(250)),
        if_not_exists=True,
    )
    op.create_table(
        "watermark_reads",
        sa.Column("dag_id", _text(250), primary_key=True),
        sa.Column("run_id", _text(250), primary_key=True),
        sa.Column("sync", _text(190), primary_key=True),
        sa.Column("begun", sa.BigInteger, nullable=False),
        sa.Column("from_time", sa.BigInteger),
        sa.Column("from_key", _text(20)),
        sa.Column("to_time", sa.BigInteger),
        sa.Column("to_key", _text(20)),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Forget them: incremental syncs then begin anew."""
    op.drop_table("watermark_reads", if_exists=True)
    op.drop_table("watermarks", if_exists=True)


def _text(length: int) -> sa.types.TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")
