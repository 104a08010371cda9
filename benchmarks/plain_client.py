"""The client without the delivery engine: `python -m benchmarks.plain_client FOLDER` hands rows to its `batch`.

It keeps no ledger, and the ids of its messages are random: run again, it doubles the events.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from MySQLdb.cursors import SSDictCursor

from benchmarks.customerio_sync import API_KEY
from benchmarks.job import Job
from benchmarks.rows import QUERY
from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.customerio.messages import Message, identify, track
from reverse_etl.delivery.outcomes import Receipt

PACK_ROWS = 500
PACKS_IN_FLIGHT = 8


def messages(rows: tuple[dict[str, Any], ...]) -> Iterator[Message]:
    for row in rows:
        user, candidate = row["user_id"], row["candidate"] == 1
        traits = {name: row[name] for name in ("email", "first_name", "last_name", "plan_type")}
        properties = {name: row[name] for name in ("page", "device", "browser", "location")}
        moment = row["event_time"].replace(tzinfo=UTC)
        yield identify(user, {**traits, "candidate": candidate, "recent_page_view": True})
        yield track(user, "page_view", {**properties, "candidate": candidate}, timestamp=moment)


async def send(client: CustomerIOClient, pack: list[Message], room: asyncio.Semaphore) -> None:
    verdicts = await client.batch(pack)
    refused = [verdict for verdict in verdicts if not isinstance(verdict, Receipt)]
    if refused:
        raise refused[0]
    room.release()


async def load(job: Job) -> None:
    room = asyncio.Semaphore(PACKS_IN_FLIGHT)
    query = QUERY.read_text(encoding="utf-8").strip().removesuffix(";")
    with job.source() as connection:
        cursor = connection.cursor(SSDictCursor)
        cursor.execute(f"{query} LIMIT %s", [job.rows])
        async with (
            CustomerIOClient(CustomerIOConnection(API_KEY, host=job.url)) as client,
            asyncio.TaskGroup() as tasks,
        ):
            while rows := cursor.fetchmany(PACK_ROWS):
                await room.acquire()
                tasks.create_task(send(client, list(messages(rows)), room))


if __name__ == "__main__":
    given = Job.given()
    started, cpu = time.monotonic(), time.process_time()
    asyncio.run(load(given))
    given.finish(
        seconds=time.monotonic() - started,
        cpu_seconds=time.process_time() - cpu,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
