"""Customer.io's own SDK: `python -m benchmarks.sdk_peer FOLDER PYTHON careful|careless SETTINGS`.

It writes the rows of the job to a file, then runs sdk_program.py in the environment of the interpreter `PYTHON`.
Reading the database is not counted, nor is the start of the program: both flatter the SDK. `careful` waits while the
SDK's queue is full and flushes at the end; `careless` does neither. `SETTINGS` are arguments of its Client as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC
from pathlib import Path

from MySQLdb.cursors import SSDictCursor

from benchmarks.customerio_sync import API_KEY
from benchmarks.job import Job
from benchmarks.rows import QUERY

PROGRAM = Path(__file__).with_name("sdk_program.py")


def write_rows(job: Job) -> None:
    query = QUERY.read_text(encoding="utf-8").strip().removesuffix(";")
    with job.source() as connection, (Path(job.folder) / "rows.jsonl").open("w", encoding="utf-8") as lines:
        cursor = connection.cursor(SSDictCursor)
        cursor.execute(f"{query} LIMIT %s", [job.rows])
        for row in cursor:
            moment = row.pop("event_time").replace(tzinfo=UTC).isoformat()
            lines.write(json.dumps({**row, "event_time": moment}) + "\n")


def main() -> None:
    job = Job.given()
    python, manner, settings = sys.argv[2:]
    folder = Path(job.folder)
    told = {"api_key": API_KEY, "url": job.url, "careful": manner == "careful", "settings": json.loads(settings)}
    (folder / "sdk.json").write_text(json.dumps(told), encoding="utf-8")
    write_rows(job)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW"))}
    subprocess.run([python, "-P", str(PROGRAM), str(folder)], env=environ, check=True)
    job.finish(**json.loads((folder / "sdk_result.json").read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
