"""Count a run's rows by outcome and reason; the argument is integration_results_*.parquet."""

import sys

import pyarrow.parquet as pq

rows = pq.read_table(sys.argv[1], columns=["outcome", "code"])
counts = rows.group_by(["outcome", "code"]).aggregate([([], "count_all")])
for line in counts.sort_by([("count_all", "descending")]).to_pylist():
    print(line["count_all"], line["outcome"], line["code"])
