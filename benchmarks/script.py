"""A plain script as one would write it: read the rows, then one update and one track per user, one by one.

`python -m benchmarks.script FOLDER` calls `requests.post`, `python -m benchmarks.script FOLDER session` a Session.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import MySQLdb.cursors
import requests
from MySQLdb.connections import Connection

from benchmarks.job import API_KEY, Job


def run(job: Job, post: Callable[..., requests.Response]) -> None:
    headers = {"Api-Key": API_KEY}
    with job.source() as connection:
        for row in read(connection, job.rows):
            post(f"{job.url}/api/users/update", json=update(row), headers=headers, timeout=10).raise_for_status()
            post(f"{job.url}/api/events/track", json=event(row), headers=headers, timeout=10).raise_for_status()


def read(connection: Connection, rows: int) -> Sequence[dict[str, Any]]:
    cursor = connection.cursor(MySQLdb.cursors.DictCursor)
    cursor.execute("SELECT * FROM benchmark_rows ORDER BY page_view_id LIMIT %s", [rows])
    found: Sequence[dict[str, Any]] = cursor.fetchall()
    return found


def update(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "email": row["email"],
        "dataFields": {
            "first_name": row["first_name"],
            "last_name": row["last_name"],
            "plan_type": row["plan_type"],
            "candidate": bool(row["candidate"]),
            "recent_page_view": True,
        },
    }


def event(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "email": row["email"],
        "eventName": "page_view",
        "createdAt": int(row["event_time"].timestamp()),
        "dataFields": {
            "page": row["page"],
            "device": row["device"],
            "browser": row["browser"],
            "location": row["location"],
            "candidate": bool(row["candidate"]),
            "timestamp": row["event_time"].strftime("%Y-%m-%d %H:%M:%S +00:00"),
        },
    }


def main() -> None:
    job = Job.given()
    post = requests.Session().post if "session" in sys.argv[2:] else requests.post
    started = time.monotonic()
    run(job, post)
    job.finish(seconds=time.monotonic() - started)


if __name__ == "__main__":
    main()
