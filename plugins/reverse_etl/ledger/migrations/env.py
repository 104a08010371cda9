"""Run by Alembic; the connection and the transaction around it belong to the caller."""

from __future__ import annotations

from alembic import context

from reverse_etl.ledger.schema import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    version_table_pk=True,
)
with context.begin_transaction():
    context.run_migrations()
