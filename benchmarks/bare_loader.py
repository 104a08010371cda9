"""The ceiling: a loader in one process that keeps no book of anything. `python -m benchmarks.bare_loader FOLDER`."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import orjson
from MySQLdb.cursors import SSCursor

from benchmarks.job import API_KEY, Job

PACK_ROWS = 1_000
PACKS_IN_FLIGHT = 8
QUERY = """
SELECT email, first_name, last_name, plan_type, page, device, browser, location, candidate,
    CAST(UNIX_TIMESTAMP(event_time) AS SIGNED), DATE_FORMAT(event_time, '%%Y-%%m-%%d %%H:%%i:%%S +00:00')
FROM benchmark_rows ORDER BY page_view_id LIMIT %s
"""


def bodies(rows: tuple[tuple[object, ...], ...]) -> tuple[bytes, bytes]:
    users, events = [], []
    for email, first, last, plan, page, device, browser, location, flag, created_at, timestamp in rows:
        candidate = flag == 1
        user = {"first_name": first, "last_name": last, "plan_type": plan, "candidate": candidate}
        users.append({"email": email, "dataFields": {**user, "recent_page_view": True}})
        event = {"page": page, "device": device, "browser": browser, "location": location, "candidate": candidate}
        event["timestamp"] = timestamp
        events.append({"email": email, "eventName": "page_view", "createdAt": created_at, "dataFields": event})
    return orjson.dumps({"users": users}), orjson.dumps({"events": events})


async def send(session: aiohttp.ClientSession, pack: tuple[bytes, bytes], room: asyncio.Semaphore) -> None:
    for path, body in zip(("/api/users/bulkUpdate", "/api/events/trackBulk"), pack, strict=True):
        async with session.post(path, data=body) as answer:
            if answer.status != 200:
                raise RuntimeError(f"{path} answered {answer.status}")
    room.release()


async def load(job: Job) -> None:
    room = asyncio.Semaphore(PACKS_IN_FLIGHT)
    headers = {"Api-Key": API_KEY, "Content-Type": "application/json"}
    with job.source() as connection:
        cursor = connection.cursor(SSCursor)
        cursor.execute(QUERY, [job.rows])
        async with aiohttp.ClientSession(job.url, headers=headers) as session, asyncio.TaskGroup() as tasks:
            while rows := cursor.fetchmany(PACK_ROWS):
                await room.acquire()
                tasks.create_task(send(session, bodies(rows), room))


if __name__ == "__main__":
    given = Job.given()
    started = time.monotonic()
    asyncio.run(load(given))
    given.finish(seconds=time.monotonic() - started)
