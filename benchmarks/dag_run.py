"""One of the DAGs in `dags/` by `dag.test()`: `python -m benchmarks.dag_run FOLDER DAG_ID ROWS_PARAM`.

A first run with one row pays for what Airflow starts once per process; it is not counted.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

from benchmarks.job import Job
from benchmarks.sandbox import reset

DAGS = Path(__file__).with_name("dags")


def run(dag_id: str, param: str, rows: int) -> float:
    """Run the DAG on so many rows; return the seconds, or raise RuntimeError when it did not succeed."""
    bag = DagBag(dag_folder=str(DAGS))
    if bag.import_errors:
        raise RuntimeError(f"DAG files cannot be imported: {bag.import_errors}")
    dag = bag.dags[dag_id]
    started = time.monotonic()
    dag_run = dag.test(logical_date=datetime.now(UTC), run_conf={param: rows})
    seconds = time.monotonic() - started
    if dag_run.state != "success":
        raise RuntimeError(f"the run of {dag_id} ended {dag_run.state}")
    return seconds


def main() -> None:
    job = Job.given()
    dag_id, param = sys.argv[2:]
    run(dag_id, param, 1)
    reset(job.url)
    job.finish(seconds=run(dag_id, param, job.rows))


if __name__ == "__main__":
    main()
