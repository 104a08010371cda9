"""Deliver tasks that end in the middle: the report says of every row what the ledger says, and the counts are true."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reverse_etl.delivery.pacing import Paces
from reverse_etl.delivery.report import BatchDelivery
from reverse_etl.errors import AuthenticationRefused
from reverse_etl.iterable.config import IterableDestination
from reverse_etl.iterable.hook import IterableHook
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import RunRef
from reverse_etl.operators.base import RunParams, staging_folder
from reverse_etl.operators.batch import Delivered, deliver_batch
from reverse_etl.operators.deliver import DeliverOperator
from reverse_etl.operators.ledger import recording
from reverse_etl.sandbox.testing import SandboxServer
from reverse_etl.staging.batches import BatchRef
from reverse_etl.sync import Sync
from tests.operators.conftest import Finished, default_destination, local
from tests.operators.test_bad_days import views

__all__ = ["views"]

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]

# --- Killed, and no try left -----------------------------------------------------------------------------------


class KilledOperator(DeliverOperator):
    """Delivers its batch, and is killed before it can tell."""

    def execute(self, context: Any) -> None:
        batch = BatchRef.from_dict(self.batch)
        record = self._recording(context, batch.index, RunParams.of(context))
        deliver_batch(self.sync, batch, staging_folder(self.sync, context), record, attempt=0, log=self.log)
        raise RuntimeError("killed")


@pytest.mark.parametrize("calls", ["bulk", "single"])
@pytest.mark.parametrize("sends", ["all", "changed"])
def test_the_report_says_of_a_killed_tasks_rows_what_the_ledger_says(
    run_sync: Run,
    views: Callable[..., None],
    sandbox: SandboxServer,
    tmp_path: Path,
    calls: Literal["bulk", "single"],
    sends: str,
) -> None:
    sandbox.post("/api/users/update", {"email": "gone@example.com"})
    sandbox.post("/api/users/forget", {"email": "gone@example.com"})
    for name in ("ada", "bob", "malformed email", "gone", "refused"):
        views(f"{name}@example.com")
    refused = {"kind": "status", "status": 400, "match_email": "refused@example.com"}
    sandbox.faults([{"path": "/api/users/*", **refused}])
    finished = run_sync(destination=default_destination(calls), deliver=KilledOperator, retries=0, sync_sends=sends)
    assert finished.state == "failed"
    assert finished.counts == {"read": 5, "delivered": 2, "invalid": 1, "rejected": 1, "suppressed": 1}
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        quarantined = [(call.outcome.value, call.code) for call in ledger.quarantine.calls("views")]
    summary = orjson.loads(local(finished.result["json"]).read_bytes())
    reported = [(reason["outcome"], reason["code"]) for reason in summary["reasons"]]
    assert sorted(reported) == sorted([*quarantined, ("suppressed", "ForgottenUserError")])


def test_the_report_says_why_the_last_try_of_a_killed_tasks_row_failed(
    run_sync: Run, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    for name in ("ada", "down"):
        views(f"{name}@example.com")
    sandbox.faults([{"path": "/api/events/*", "kind": "status", "status": 503, "match_email": "down@example.com"}])
    finished = run_sync(deliver=KilledOperator, retries=0)
    assert finished.counts == {"read": 2, "delivered": 1, "failed": 1}
    summary = orjson.loads(local(finished.result["json"]).read_bytes())
    assert [reason["code"] for reason in summary["reasons"]] == ["GenericError"]


# --- Stopped, and what it had sent -----------------------------------------------------------------------------


class BreakingHook(IterableHook):
    """Its deliveries end the task when `breaks@example.com` is to be sent, as a signal or a bug of ours does."""

    @asynccontextmanager
    async def destination(self, sync: Sync, paces: Paces | None = None) -> AsyncIterator[Any]:
        async with super().destination(sync, paces) as destination:
            send = destination.send

            async def break_off(calls: Any, *more: Any) -> Any:
                if calls[0].identity["email"] != "breaks@example.com":
                    return await send(calls, *more)
                await asyncio.sleep(0.3)
                raise RuntimeError("a bug")

            destination.send = break_off
            yield destination


class BreakingDestination(IterableDestination):
    """The default destination with the hook that breaks."""

    hook_class: ClassVar[str] = f"{__name__}.BreakingHook"


@pytest.fixture
def deliver(connections: Callable[..., None], tmp_path: Path) -> Callable[..., Delivered]:
    """Return a function that delivers a batch of the people named, in an attempt of the one run there is."""
    (tmp_path / "views.sql").write_text("SELECT 1")

    def run(*people: str, attempt: int = 0, breaks: bool = False) -> Delivered:
        names = [*people, "breaks"] if breaks else people
        path = tmp_path / "batch-00000.parquet"
        moment = datetime(2026, 1, 13, 8, tzinfo=UTC)
        rows = [
            {
                "view_id": number,
                "email": f"{name}@example.com",
                "first_name": name,
                "candidate": 1,
                "page": "pricing",
                "event_time": moment,
            }
            for number, name in enumerate(names)
        ]
        pq.write_table(pa.Table.from_pylist(rows), path)
        plain = default_destination()
        kind = BreakingDestination if breaks else IterableDestination
        destination = kind(calls="single", email="email", user=plain.user, event=plain.event)
        sync = Sync("views", tmp_path / "views.sql", ("view_id",), destination)
        record = recording(RunRef("views", "a run", "views", attempt, date(2026, 1, 13), 1), 0)
        from airflow.sdk import ObjectStoragePath

        folder = ObjectStoragePath(f"file://{tmp_path}/run-{attempt}")
        batch = BatchRef(0, f"file://{path}", len(names))
        return deliver_batch(sync, batch, folder, record, attempt=attempt, log=logging.getLogger("test"))

    return run


def counted(delivered: Delivered) -> tuple[int, int]:
    counts: BatchDelivery = delivered.counts
    return counts.resumed_calls, counts.resent_calls


@pytest.mark.parametrize("stop", ["key", "breaks"])
def test_a_batch_that_stops_says_how_many_calls_it_resumed(
    deliver: Callable[..., Delivered], sandbox: SandboxServer, stop: str
) -> None:
    assert deliver("ada", "bob", breaks=True).totals.as_dict()["delivered"] == 2
    if stop == "key":
        sandbox.faults([{"kind": "status", "status": 401, "match_email": "eve@example.com"}])
    stopped = deliver("ada", "bob", "eve", breaks=stop == "breaks")
    assert isinstance(stopped.stopped, AuthenticationRefused if stop == "key" else RuntimeError)
    assert counted(stopped) == (4, 0)


@pytest.mark.parametrize("stop", ["key", "breaks"])
def test_a_batch_that_stops_after_a_clear_says_how_many_calls_it_resent(
    deliver: Callable[..., Delivered], sandbox: SandboxServer, stop: str
) -> None:
    assert deliver("ada", "bob", "eve").stopped is None
    if stop == "key":
        sandbox.faults([{"kind": "status", "status": 401, "match_email": "eve@example.com", "delay_seconds": 0.3}])
    stopped = deliver("ada", "bob", *(["eve"] if stop == "key" else []), attempt=1, breaks=stop == "breaks")
    assert isinstance(stopped.stopped, AuthenticationRefused if stop == "key" else RuntimeError)
    assert counted(stopped) == (0, 4)
