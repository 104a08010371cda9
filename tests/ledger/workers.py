"""What one of several processes does that use a ledger at once; see `processes.py` for how they are started."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from reverse_etl.ledger.ledger import Ledger
from tests.ledger.samples import ACCOUNT, START, TRACK, delivered, ref, rejected

Say = Callable[[object], None]


def main(other: Connection, what: str, url: str, *numbers: int) -> None:
    """Say `ready`, wait until told to begin, and say the values of the work."""
    other.send("ready")
    other.recv()
    with Ledger.open(url) as ledger:
        WORK[what](other.send, ledger, *numbers)


def opened(say: Say, ledger: Ledger) -> None:
    say(ledger.begin(ref()).id)


def lease(say: Say, ledger: Ledger, leases: int, slots: int, per_second: int) -> None:
    for _ in range(leases):
        got = ledger.budgets.lease(ACCOUNT, "/api/users/update", slots, per_second)
        say([got.start, got.interval, got.slots])


def take(say: Say, ledger: Ledger, times: int, limit: int) -> None:
    for _ in range(times):
        say(ledger.budgets.take_daily(ACCOUNT, "/api/users/forget", 3, limit, now=START.timestamp()))


def mark(say: Say, ledger: Ledger, batch: int, rows: int, marks: int) -> None:
    attempt = ledger.begin(ref())
    for number in count() if marks < 0 else range(marks):
        names = [f"{number}-{row}" for row in range(rows)]
        attempt.mark(batch, [delivered(name) for name in names] + [rejected(name, TRACK) for name in names])
        attempt.settle(batch)
        say(number)


def watermark(say: Say, ledger: Ledger, number: int, end: int) -> None:
    from tests.ledger.test_watermarks import INCREMENTAL, place, reader

    run = reader(f"run {number}")
    say(ledger.watermarks.begin(run, INCREMENTAL).end is None)
    for reached in range(1, end + 1, 50):
        ledger.watermarks.move(run, place(reached))
    ledger.watermarks.end(run, place(end))
    say(ledger.watermarks.move(run, place(end)))


def turn(say: Say, ledger: Ledger, number: int) -> None:
    say(ledger.turns.take("customers", "daily", f"run {number}", 300.0) is None)


WORK: dict[str, Callable[..., Any]] = {
    "turn": turn,
    "watermark": watermark,
    "open": opened,
    "lease": lease,
    "take": take,
    "mark": mark,
}
