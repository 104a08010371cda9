"""A program with Customer.io's own SDK, run in the environment of requirements-customerio-sdk.txt, which has no more.

`python sdk_program.py FOLDER` reads `sdk.json` and `rows.jsonl` there. It counts the messages the SDK has accepted in
the file `accepted`, where they can be read after it was killed, and writes what it measured to `sdk_result.json`.
"""

from __future__ import annotations

import json
import logging
import mmap
import resource
import struct
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from customerio.analytics.client import Client

SECONDS_BETWEEN_TRIES = 0.005


class Accepted:
    """A count in a file that outlives the process."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)
        self._count = 0

    def add(self) -> None:
        """Count one more."""
        self._count += 1
        struct.pack_into("<q", self._memory, 0, self._count)


def hand_over(call: Callable[..., tuple[bool, Any]], message: dict[str, Any], *, wait: bool) -> bool:
    """Give a message to the SDK; with `wait` until it has room, without it as if it always had."""
    accepted = call(**message)[0]
    while wait and not accepted:
        time.sleep(SECONDS_BETWEEN_TRIES)
        accepted = call(**message)[0]
    return accepted


def messages(client: Client, row: dict[str, Any]) -> list[tuple[Callable[..., tuple[bool, Any]], dict[str, Any]]]:
    user_id, candidate = str(row["user_id"]), bool(row["candidate"])
    traits = {name: row[name] for name in ("email", "first_name", "last_name", "plan_type")}
    properties = {name: row[name] for name in ("page", "device", "browser", "location")}
    return [
        (client.identify, {"user_id": user_id, "traits": {**traits, "candidate": candidate, "recent_page_view": True}}),
        (
            client.track,
            {
                "user_id": user_id,
                "event": "page_view",
                "properties": {**properties, "candidate": candidate},
                "timestamp": datetime.fromisoformat(row["event_time"]),
            },
        ),
    ]


def main() -> None:
    folder = Path(sys.argv[1])
    job = json.loads((folder / "sdk.json").read_text(encoding="utf-8"))
    logging.getLogger("customerio").setLevel(logging.ERROR)  # it warns of a full queue for every message
    accepted = Accepted(folder / "accepted")
    client = Client(job["api_key"], host=job["url"], **job["settings"])
    started, cpu = time.monotonic(), time.process_time()
    with (folder / "rows.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            for call, message in messages(client, json.loads(line)):
                if hand_over(call, message, wait=job["careful"]):
                    accepted.add()
    if job["careful"]:
        client.flush()
    measured = {
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    (folder / "sdk_result.json").write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
