"""Run as a program: one of several processes that use a ledger at once.

Says `ready` on stdout, begins with the first line on stdin, and writes one JSON value per line.
"""

from __future__ import annotations

import json
import sys
from itertools import count

from reverse_etl.ledger.ledger import Ledger
from tests.ledger.samples import ACCOUNT, START, TRACK, delivered, ref, rejected


def main() -> None:
    what, url, *numbers = sys.argv[1:]
    say("ready")
    sys.stdin.readline()
    with Ledger.open(url) as ledger:
        WORK[what](ledger, *map(int, numbers))


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def opened(ledger: Ledger) -> None:
    say(ledger.begin(ref()).id)


def lease(ledger: Ledger, leases: int, slots: int, per_second: int) -> None:
    for _ in range(leases):
        got = ledger.budgets.lease(ACCOUNT, "/api/users/update", slots, per_second)
        say([got.start, got.interval, got.slots])


def take(ledger: Ledger, times: int, limit: int) -> None:
    for _ in range(times):
        say(ledger.budgets.take_daily(ACCOUNT, "/api/users/forget", 3, limit, now=START.timestamp()))


def mark(ledger: Ledger, batch: int, rows: int, marks: int) -> None:
    attempt = ledger.begin(ref())
    for number in count() if marks < 0 else range(marks):
        names = [f"{number}-{row}" for row in range(rows)]
        attempt.mark(batch, [delivered(name) for name in names] + [rejected(name, TRACK) for name in names])
        attempt.settle(batch)
        say(number)


def watermark(ledger: Ledger, number: int, end: int) -> None:
    from tests.ledger.test_watermarks import INCREMENTAL, place, reader

    run = reader(f"run {number}")
    say(ledger.watermarks.begin(run, INCREMENTAL).end is None)
    for reached in range(1, end + 1, 50):
        ledger.watermarks.move(run, place(reached))
    ledger.watermarks.end(run, place(end))
    say(ledger.watermarks.move(run, place(end)))


def turn(ledger: Ledger, number: int) -> None:
    say(ledger.turns.take("customers", "daily", f"run {number}", 300.0) is None)


WORK = {"turn": turn, "watermark": watermark, "open": opened, "lease": lease, "take": take, "mark": mark}

if __name__ == "__main__":
    main()
