"""Rows as typed Parquet batches on object storage, and the CSV export made from them."""
