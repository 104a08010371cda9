"""A source, a platform and a ledger between them, and runs in which anything may happen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from sqlalchemy import make_url

from reverse_etl.delivery.destination import Call, Tell, Verdict
from reverse_etl.delivery.engine import DeliveryEngine
from reverse_etl.delivery.outcomes import Outcome, Totals
from reverse_etl.delivery.plan import Plan
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import IterableDestination, UserUpdate
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.iterable.destination import IterableDelivery
from reverse_etl.ledger.journal import BatchJournal, Compared
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.mapping import Field
from reverse_etl.redaction import KeyHasher
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from tests.ledger.samples import ref

HASH = KeyHasher("a hash key for the tests")
MAPPING = IterableDestination(email="email", user=UserUpdate((Field("name"),)), calls="single")
IN_FLIGHT = 3

TWICE = (4, 5)
"""Keys of rows about one and the same person; the second is to win."""

LAST_CHANGED = 0
"""Stands for the key that was changed last."""

Rows = Sequence[Mapping[str, object]]


class Killed(Exception):
    """The worker is gone."""


@dataclass(frozen=True)
class Kill:
    """Dies at its nth request, before it leaves or after it arrived."""

    request: int
    arrives: bool


@dataclass
class World:
    """`values` is the source by key. Everything of one world has its own sync, so that worlds may share a ledger."""

    ledger: Ledger
    sandbox: SandboxServer
    sync: str
    values: dict[int, str] = field(default_factory=lambda: dict.fromkeys((1, *TWICE), "Ada"))
    begun: int = 0
    killed: list[tuple[str, Rows]] = field(default_factory=list)
    rows_before: Rows = ()
    last_changed: int = TWICE[0]

    def email(self, key: int) -> str:
        return f"p{min(key, TWICE[0])}@example.com"

    def rows(self) -> Rows:
        return [{"id": key, "email": self.email(key), "name": name} for key, name in sorted(self.values.items())]

    def change(self, changes: Sequence[tuple[int, str]]) -> None:
        """Insert, update or delete; there are only two values, so that they often change back."""
        self.rows_before = self.rows()
        for key, what in changes:
            self.last_changed = key or self.last_changed
            if what == "flip":
                self.values[self.last_changed] = "Bob" if self.values.get(self.last_changed) == "Ada" else "Ada"
            elif self.last_changed not in TWICE:
                self.values.pop(self.last_changed, None)

    def new_run(self) -> str:
        self.begun += 1
        return f"run {self.begun}"

    def run(self, run_id: str, rows: Rows, **how: Any) -> Mapping[str, int]:
        """Deliver rows; return the outcomes."""
        return asyncio.run(self._deliver(run_id, rows, **how))

    def predict(self, *, changed: bool = True) -> tuple[Mapping[str, int], Mapping[str, Any]]:
        """Return the outcomes and the plan of a dry run over the rows there are."""
        compared = Compared(self.ledger.comparison(self.sync))
        plan = Plan(not changed, HASH, compared.state)

        async def dry_run() -> None:
            engine = DeliveryEngine(key=("id",), hash_key=HASH, on_result=counted.add, journal=compared, plan=plan)
            connection = IterableConnection(api_key=SERVER_KEY, host="http://127.0.0.1:9")
            async with IterableClient(connection) as client:
                await engine.deliver(iter(self.rows()), Mortal(client, self.sync, Kill(1, arrives=False)))

        counted = Totals()
        asyncio.run(dry_run())
        return {name: count for name, count in counted.as_dict().items() if count}, plan.as_dict()

    def two_runs_at_once(self, one: Rows, other: Rows, *, changed: bool) -> None:
        """Deliver two readings of the source, both begun before either ends."""
        runs = [self.new_run(), self.new_run()]
        for run_id in runs:
            self.ledger.begin(ref(run_id=run_id, sync=self.sync))

        async def both() -> None:
            first = self._deliver(runs[0], one, changed=changed)
            await asyncio.gather(first, self._deliver(runs[1], other, changed=changed))

        asyncio.run(both())

    async def _deliver(
        self, run_id: str, rows: Rows, *, kill: Kill | None = None, changed: bool = True, attempt: int = 0
    ) -> Mapping[str, int]:
        begun = self.ledger.begin(ref(run_id=run_id, sync=self.sync, attempt=attempt))
        journal = BatchJournal(begun, 0, compares=changed)
        engine = DeliveryEngine(key=("id",), hash_key=HASH, on_result=lambda result: None, journal=journal)
        connection = IterableConnection(api_key=SERVER_KEY, host=self.sandbox.url, tries=1, requests_in_flight=4)
        try:
            async with IterableClient(connection) as client:
                await engine.deliver(iter(rows), Mortal(client, self.sync, kill))
        except Killed:
            self.killed.append((run_id, rows))
        if engine.is_answered:
            journal.close()
        return {name: count for name, count in engine.totals.as_dict().items() if count}

    def differences(self) -> dict[str, tuple[object, object]]:
        """Return by e-mail what the platform holds and what it should."""
        held = {user["email"]: user["dataFields"].get("name") for user in self.sandbox.users()}
        wanted = {self.email(key): name for key, name in sorted(self.values.items())}
        return {email: (held.get(email), name) for email, name in wanted.items() if held.get(email) != name}


class Mortal(IterableDelivery):
    """A delivery whose worker may be killed."""

    def __init__(self, client: IterableClient, sync: str, kill: Kill | None) -> None:
        super().__init__(client, sync, ("id",), MAPPING, calls="single", requests_in_flight=IN_FLIGHT)
        self._kill = kill
        self._requests = 0

    async def send(self, calls: Sequence[Call], tell: Tell) -> Sequence[Verdict]:
        self._requests += 1
        dies = self._kill is not None and self._requests >= self._kill.request
        if not dies:
            return await super().send(calls, tell)
        assert self._kill is not None
        if self._kill.arrives:
            await super().send(calls, tell)
        raise Killed


UNCHANGED = Outcome.UNCHANGED.value


def drawing(examples: Mapping[str, int], url: str) -> settings:
    """Draw the same random histories in every run, as many as `examples` has for the kind of ledger at `url`."""
    return settings(
        max_examples=examples[make_url(url).drivername],
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=[HealthCheck.too_slow],
    )
