"""What change detection needs to know whether a row state is still true, and mappings a dry run compares with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = ("attempt_id", "epoch")


def upgrade() -> None:
    """Add the columns, each of which a migration cut short may have left behind, and create the tables."""
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("row_states")}
    for name in COLUMNS:
        if name not in present:
            op.add_column("row_states", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "open_batches",
        sa.Column("sync", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("attempt_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("opened", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Integer),
        if_not_exists=True,
    )
    op.create_table(
        "mappings",
        sa.Column("sync", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", _hash(), primary_key=True),
        sa.Column("mapping", _long_text(), nullable=False),
        sa.Column("attempt_id", sa.Integer, nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("mappings", if_exists=True)
    op.drop_table("open_batches", if_exists=True)
    with op.batch_alter_table("row_states") as row_states:
        for name in COLUMNS:
            row_states.drop_column(name)


def _hash() -> sa.types.TypeEngine[str]:
    narrow = mysql.CHAR(32, charset="ascii", collation="ascii_bin")
    return sa.CHAR(32).with_variant(narrow, "mysql", "mariadb")


def _long_text() -> sa.types.TypeEngine[str]:
    exact = mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin")
    return sa.Text().with_variant(exact, "mysql", "mariadb")
