"""The keys of the rows that were not delivered; arguments: results file, folder of the run's batches, key columns."""

import os
import sys
from pathlib import Path

import pyarrow.parquet as pq

from reverse_etl.redaction import KeyHasher

results, batches, *key_columns = sys.argv[1:]
hasher = KeyHasher(os.environ.get("AIRFLOW__REVERSE_ETL__HASH_KEY", ""))
arrived = ["delivered", "unchanged"]
rows = pq.read_table(results, columns=["key", "outcome", "code"], filters=[("outcome", "not in", arrived)])
undelivered = {row["key"]: row for row in rows.to_pylist()}
print(len(undelivered), "rows were not delivered")
for batch in sorted(Path(batches).glob("batch-*.parquet")):
    for row in pq.read_table(batch, columns=key_columns).to_pylist():
        key = [row[column] for column in key_columns]
        if found := undelivered.pop(hasher(key), None):
            print(*key, found["outcome"], found["code"])
if undelivered:
    sys.exit(f"{len(undelivered)} of them are not in {batches}: another run, other key columns or another hash key?")
