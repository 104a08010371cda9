"""Three made-up runs in a ledger: signups of three days, some of them with mistakes, delivered to a sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from reverse_etl.delivery.engine import DeliveryEngine
from reverse_etl.delivery.reading import Row
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.iterable.destination import IterableDelivery
from reverse_etl.iterable.limits import Endpoint
from reverse_etl.ledger.journal import BatchJournal
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import RunRef
from reverse_etl.mapping import Field
from reverse_etl.redaction import KeyHasher
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer

SYNC = "trial_signups"
KEY = ("signup_id",)
MAPPING = IterableDestination(
    email="email",
    user=UserUpdate(fields=(Field("plan"), Field("seats"))),
    event=EventTrack(name="trial_started", created_at="started_at"),
)
WINDOW_DAYS = 2
FORGOTTEN = "s2-50@example.com"


@dataclass(frozen=True)
class Day:
    """Signups of a day; the first have a malformed e-mail until the next day, the last no number of seats."""

    number: int
    rows: int
    bad_emails: int
    bad_seats: int
    unanswered: int = 0
    """Requests of the day's run that the sandbox answers with a 500."""

    @property
    def date(self) -> date:
        """The UTC day."""
        return date(2026, 1, 12) + timedelta(days=self.number)

    @property
    def morning_after(self) -> float:
        """When the day's run takes place, in seconds since 1970."""
        return datetime.combine(self.date + timedelta(days=1), time(6, 30), UTC).timestamp()


DAYS = (Day(1, 80, 6, 1), Day(2, 90, 9, 2, unanswered=12), Day(3, 100, 4, 3))


def write_demo(url: str) -> None:
    """Deliver the three days to a sandbox of their own and record it in the ledger `url` names."""
    with SandboxServer() as sandbox:
        for path in ("update", "forget"):
            sandbox.post(f"/api/users/{path}", {"email": FORGOTTEN})
        with ThreadPoolExecutor(1) as aside:  # in Jupyter a loop runs in this thread already
            aside.submit(asyncio.run, _runs(url, sandbox)).result()


async def _runs(url: str, sandbox: SandboxServer) -> None:
    connection = IterableConnection(SERVER_KEY, host=sandbox.url)
    async with IterableClient(connection, retry=RetryPolicy(tries=1)) as client:
        for today in DAYS:
            if today.unanswered:
                rule = {"kind": "status", "status": 500, "path": Endpoint.USER_UPDATE, "after": 20}
                sandbox.faults([{**rule, "times": today.unanswered}])
            with Ledger.open(url, clock=lambda moment=today.morning_after: moment) as ledger:  # type: ignore[misc]
                await _run(ledger, client, today)


async def _run(ledger: Ledger, client: IterableClient, today: Day) -> None:
    attempt = ledger.begin(RunRef(SYNC, f"scheduled__{today.date}", SYNC, 0, today.date, WINDOW_DAYS))
    journal = BatchJournal(attempt, 0)
    engine = DeliveryEngine(
        key=KEY,
        hash_key=KeyHasher("the demonstration's hash key"),
        on_result=lambda _result: None,
        journal=journal,
    )
    delivery = IterableDelivery(client, SYNC, KEY, MAPPING, calls="single", requests_in_flight=20)
    await engine.deliver(_rows(today), delivery)
    journal.close()
    attempt.finish(engine.totals.rows, engine.totals.outcomes)


def _rows(today: Day) -> Iterator[Row]:
    """Yield the rows of the window; by now the e-mails of the day before have been corrected."""
    for day in DAYS[max(0, today.number - WINDOW_DAYS) : today.number]:
        for number in range(day.rows):
            is_bad = day is today and number < day.bad_emails
            has_seats = number < day.rows - day.bad_seats
            yield {
                "signup_id": f"{day.number}-{number}",
                "email": "not an e-mail" if is_bad else f"s{day.number}-{number}@example.com",
                "plan": ("free", "pro")[number % 2],
                "seats": number % 5 + 1 if has_seats else "a few",
                "started_at": datetime.combine(day.date, time(8), UTC) + timedelta(minutes=number),
            }
