"""drt-core, a reverse ETL tool of its own: MySQL to its REST destination, 1,000 rows per request.

`python -m benchmarks.drt_peer FOLDER DRT SHARES` runs the program `DRT` (see peer_environment.py) on a project written
here. drt sends one request after the other and reads no answer, so the users go first and the events after the last.
With `SHARES` above 1 the rows are divided over so many of its syncs, which it runs in as many threads. The seconds are
its own: they leave out the start of the program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.job import API_KEY, Job
from benchmarks.rows import ROWS

ROWS_PER_REQUEST = 1_000
ROWS_PER_LOAD = 10_000
"""Rows drt holds at once; it opens a new connection for each such load."""

# As fast as its templates go: one dump of all rows, dates written by the database.
USERS = """
{%- set users = [] -%}
{%- for r in rows -%}
{%- set _ = users.append({"email": r.email, "dataFields": {
    "first_name": r.first_name, "last_name": r.last_name, "plan_type": r.plan_type,
    "candidate": r.candidate == 1, "recent_page_view": true}}) -%}
{%- endfor -%}
{"users": {{ users | tojson_safe }}}
"""
EVENTS = """
{%- set events = [] -%}
{%- for r in rows -%}
{%- set _ = events.append({"email": r.email, "eventName": "page_view", "createdAt": r.created_at, "dataFields": {
    "page": r.page, "device": r.device, "browser": r.browser, "location": r.location,
    "candidate": r.candidate == 1, "timestamp": r.timestamp}}) -%}
{%- endfor -%}
{"events": {{ events | tojson_safe }}}
"""
COLUMNS = {
    "users": "email, first_name, last_name, plan_type, candidate",
    "events": "email, page, device, browser, location, candidate, "
    "CAST(UNIX_TIMESTAMP(event_time) AS SIGNED) AS created_at, "
    "DATE_FORMAT(event_time, '%Y-%m-%d %H:%i:%S +00:00') AS timestamp",
}
PATHS = {"users": "/api/users/bulkUpdate", "events": "/api/events/trackBulk"}
TEMPLATES = {"users": USERS, "events": EVENTS}


def write_project(job: Job, shares: int) -> Path:
    """Write the project and the profile of the database; JSON is YAML too."""
    folder = Path(job.folder) / "drt"
    (folder / "syncs").mkdir(parents=True)
    (folder / ".drt").mkdir()
    (folder / "drt_project.yml").write_text(json.dumps({"name": "benchmark", "profile": "mysql"}), encoding="utf-8")
    with job.server() as server:
        connection = server.airflow_connection()
    profile = {"type": "mysql", "host": connection["host"], "port": connection["port"], "dbname": connection["schema"]}
    profile |= {"user": connection["login"], "password": connection["password"]}
    profiles = folder / ".drt" / "profiles.yml"
    profiles.touch(mode=0o600)
    profiles.write_text(json.dumps({"mysql": profile}), encoding="utf-8")
    for kind in PATHS:
        for share in range(shares):
            path = folder / "syncs" / f"{kind}_{share}.yml"
            path.write_text(json.dumps(sync(job, kind, share, shares)), encoding="utf-8")
    return folder


def sync(job: Job, kind: str, share: int, shares: int) -> dict[str, Any]:
    """Return the sync of one kind of call for one share of the rows."""
    first, last = (job.rows * part // shares for part in (share, share + 1))
    return {
        "name": f"{kind}_{share}",
        "tags": [kind],
        "model": f"SELECT {COLUMNS[kind]} FROM benchmark_rows WHERE page_view_id BETWEEN {first + 1} AND {last} "
        f"ORDER BY page_view_id LIMIT {ROWS}",
        "destination": {
            "type": "rest_api",
            "url": f"{job.url}{PATHS[kind]}",
            "headers": {"Content-Type": "application/json", "Api-Key": API_KEY},
            "body_mode": "batch",
            "batch_template": TEMPLATES[kind].strip(),
            "max_records_per_request": ROWS_PER_REQUEST,
        },
        "sync": {"batch_size": ROWS_PER_LOAD, "rate_limit": {"requests_per_second": 0}, "on_error": "fail"},
    }


def run(program: str, folder: Path, kind: str, shares: int) -> float:
    """Run the syncs of one kind; return drt's own seconds, or raise RuntimeError when one failed."""
    command = [program, "run", "--select", f"tag:{kind}", "--threads", str(shares), "--output", "json"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW"))}
    environ["HOME"] = str(folder)  # where it looks for its profiles
    answer = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"drt run ended with code {answer.returncode} for the {kind}")
    return float(json.loads(answer.stdout)["total_duration_seconds"])


def main() -> None:
    job = Job.given()
    program, shares = sys.argv[2], int(sys.argv[3])
    folder = write_project(job, shares)
    seconds = {kind: run(program, folder, kind, shares) for kind in PATHS}
    job.finish(seconds=sum(seconds.values()), step_seconds=seconds)


if __name__ == "__main__":
    main()
