"""What became of one row: the arguments are integration_results_*.parquet and the values of the sync's key."""

import os
import sys

import pyarrow.parquet as pq

from reverse_etl.redaction import KeyHasher

path, *key = sys.argv[1:]
hashed = KeyHasher(os.environ.get("AIRFLOW__REVERSE_ETL__HASH_KEY", ""))(key)
found = pq.read_table(path, filters=[("key", "=", hashed)]).to_pylist()
for row in found:
    print(row["outcome"], row["code"])
    for call in row["calls"]:
        print(" ", call["call"], call["outcome"], call["code"], call["status"], f"{call['tries']} tries")
if not found:
    sys.exit("No row of the file has this key, or the hash key is not the one of the run.")
