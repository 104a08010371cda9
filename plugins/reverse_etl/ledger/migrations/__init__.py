"""Alembic's script folder; `ledger.migrating` runs it."""
