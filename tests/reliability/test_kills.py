"""Task processes of a running Airflow die by SIGKILL, and a person clears a run."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from collections.abc import Iterator

import pytest

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.sandbox.testing import SandboxServer
from tests.database import run
from tests.reliability import check, source
from tests.reliability.conftest import HASH_KEY
from tests.reliability.live import IN_FLIGHT, Live, dag_files, kill_deliveries, started, wait
from tests.reliability.source import Source

LIMIT_SECONDS = 150.0

KILLS = 20
BATCHES = 3
SEED = 71

KILLED = source.plan("killed", 900, seed=SEED, in_bulk=False)
CLEARED = source.plan("cleared", 200, seed=SEED + 1, in_bulk=False)


@pytest.fixture(scope="module")
def live(shared_sandbox: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with started(tmp_path_factory.mktemp("live"), dag_files([KILLED, CLEARED]), shared_sandbox) as airflow:
        run(airflow.database.connect, "CREATE TABLE pace (seconds DOUBLE)", "INSERT INTO pace VALUES (0)")
        yield airflow


def prepare(live: Live, sandbox: SandboxServer, planned: Source) -> None:
    source.load(live.database.connect, planned)
    for path, body in source.preparation(planned):
        sandbox.post(path, body)


def whole(live: Live, sandbox: SandboxServer, planned: Source, run_id: str, seed: int) -> None:
    seen = check.observe(
        sandbox, live.ledger_url, check.RunId(planned.name, run_id), planned, live.pushed(planned, run_id)
    )
    wrong = check.differences(planned, planned.name, seen, HASH_KEY)
    assert not wrong, f"seed {seed}, {len(wrong)} differences:\n" + "\n".join(wrong[:20])


def test_twenty_killed_deliveries_lose_and_double_nothing(live: Live, sandbox: SandboxServer) -> None:
    """One kill in the extract, twenty while sending, one in the report after its files were written."""
    prepare(live, sandbox, KILLED)
    run(live.database.connect, "UPDATE pace SET seconds = 0.004")
    before = sandbox.stats()["requests_total"]
    sandbox.settings(latency_ms=300)
    run_id = live.start(KILLED, batch_rows=len(KILLED.rows) // BATCHES)

    wait(lambda: reading(live), 60, "the query of the extract")
    os.kill(wait(lambda: live.process_of(KILLED, run_id, "extract"), 10, "the extract"), signal.SIGKILL)
    run(live.database.connect, "UPDATE pace SET seconds = 0")

    lived = kill_deliveries(live, KILLS, random.Random(SEED), within=120)
    sandbox.settings(latency_ms=0)

    wait(lambda: all_delivered(live, run_id), 60, "the end of the deliveries")
    lock = sqlite3.connect(live.ledger_file, isolation_level=None, timeout=10)
    lock.execute("BEGIN IMMEDIATE")
    try:
        wait(lambda: list(live.layout.output.glob("killed/integration_results_*.parquet")), 30, "the report's files")
        os.kill(wait(lambda: live.process_of(KILLED, run_id, "report"), 5, "the report"), signal.SIGKILL)
    finally:
        lock.close()

    assert live.ended(KILLED, run_id, within=60) == "success", f"seed {SEED}"
    deliver = live.tasks(KILLED, run_id, "deliver")
    assert len(lived) == KILLS
    assert sum(task["try_number"] for task in deliver) == KILLS + BATCHES, f"seed {SEED}: a kill missed"
    assert [live.tasks(KILLED, run_id, name)[0]["try_number"] for name in ("extract", "report")] == [2, 2]
    whole(live, sandbox, KILLED, run_id, SEED)
    pushed = live.pushed(KILLED, run_id)
    assert pushed["resumed_calls"] > 0
    assert pushed["resent_calls"] == 0
    # What was refused is asked again by every try; of the rest only what was under way at a kill.
    refused = KILLED.of_fate[Outcome.REJECTED]
    requests = sandbox.stats()["requests_total"] - before
    assert requests <= KILLED.calls + KILLS * (IN_FLIGHT + refused), f"seed {SEED}: {requests} requests"


def reading(live: Live) -> bool:
    connection = live.database.connect()
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM information_schema.processlist WHERE info LIKE 'SELECT id AS view_id%'")
        return cursor.fetchone() is not None
    finally:
        connection.close()


def all_delivered(live: Live, run_id: str) -> bool:
    states = [task["state"] for task in live.tasks(KILLED, run_id, "deliver")]
    return states == ["success"] * BATCHES


def test_a_run_that_a_person_clears_sends_everything_again_and_doubles_nothing(
    live: Live, sandbox: SandboxServer
) -> None:
    prepare(live, sandbox, CLEARED)
    run_id = live.start(CLEARED)
    assert live.ended(CLEARED, run_id, within=60) == "success", f"seed {SEED}"
    whole(live, sandbox, CLEARED, run_id, SEED)
    first, before = live.pushed(CLEARED, run_id), sandbox.stats()["requests_total"]
    assert (first["resumed_calls"], first["resent_calls"]) == (0, 0)

    live.clear(CLEARED, run_id)
    wait(lambda: live._end(CLEARED, run_id) is None, 10, "the start of the cleared run")
    assert live.ended(CLEARED, run_id, within=60) == "success", f"seed {SEED}"
    whole(live, sandbox, CLEARED, run_id, SEED)
    again = live.pushed(CLEARED, run_id)
    delivered = sum(2 if fate == source.DELIVERED else fate == source.BAD["eventless"] for fate in CLEARED.fates)
    assert (again["resumed_calls"], again["resent_calls"]) == (0, delivered), f"seed {SEED}"
    assert sandbox.stats()["requests_total"] - before == CLEARED.calls, f"seed {SEED}"
