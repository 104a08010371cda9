"""A running Airflow mirrors a source: a person says no, then yes, and the tasks that remove die by SIGKILL."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from reverse_etl.ledger.ledger import Ledger
from reverse_etl.sandbox.testing import SandboxServer
from tests.database import run
from tests.reliability.live import IN_FLIGHT, Live, kill_deliveries, started, wait
from tests.reliability.source import Source

LIMIT_SECONDS = 300.0

SEED = 76
KILLS = 4
MEMBERS = Source("mirrored", (), ())
ROWS, STAYING, BATCH = 240, 60, 90

QUERY = "SELECT id, email, first_name FROM mirrored ORDER BY id"
DAG_FILE = '''"""A DAG of Airflow for the tests in tests/reliability."""

from pathlib import Path

from tests.reliability.live_mirror import mirror_dag

dag = mirror_dag(Path(__file__).with_suffix(".sql"))
'''


@pytest.fixture(scope="module")
def live(shared_sandbox: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    files = {"mirrored.py": DAG_FILE, "mirrored.sql": QUERY}
    with started(tmp_path_factory.mktemp("live"), files, shared_sandbox) as airflow:
        yield airflow


def fill(live: Live, numbers: Iterable[int]) -> None:
    rows = ", ".join(f"({number}, '{email(number)}', 'Ada')" for number in numbers)
    run(live.database.connect, f"INSERT INTO mirrored VALUES {rows}")


def email(number: int) -> str:
    return f"m{number}@mirrored.example.com"


def users(sandbox: SandboxServer) -> set[str]:
    return {str(user["email"]) for user in sandbox.users()}


def known(live: Live) -> int:
    with Ledger.open(live.ledger_url) as ledger:
        return sum(len(page) for page in ledger.known_rows(MEMBERS.name).pages())


def question(live: Live, run_id: str) -> dict[str, Any] | None:
    """Return the open question of a run, if there is one."""
    path = f"/api/v2/dags/mirrored/dagRuns/{quote(run_id)}/hitlDetails?response_received=false"
    found: list[dict[str, Any]] = live.call("GET", path)["hitl_details"]
    waiting = [detail for detail in found if detail["task_instance"]["state"] == "awaiting_input"]
    return waiting[0] if waiting else None


def asked(live: Live, run_id: str) -> dict[str, Any]:
    """Return the question of a run, when it is asked."""
    detail: dict[str, Any] = wait(lambda: question(live, run_id), 120, "the question")
    return detail


def answer(live: Live, run_id: str, choice: str) -> None:
    """Answer until the answer is taken.

    Airflow asks anew where an answer resumes the task before the executor has heard of its pause, which may take
    seconds: then it takes the task for failed.
    """
    path = f"/api/v2/dags/mirrored/dagRuns/{quote(run_id)}/taskInstances/approve_removal/-1/hitlDetails"

    def is_taken() -> bool:
        if question(live, run_id):
            live.call("PATCH", path, {"chosen_options": [choice], "params_input": {}})
        return [task["state"] for task in live.tasks(MEMBERS, run_id, "approve_removal")] == ["success"]

    wait(is_taken, 120, "the end of the task that asks")


def removals(live: Live, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = live.pushed(MEMBERS, run_id)["removals"]
    return found


def test_nothing_goes_before_a_person_says_so_and_killed_removals_lose_and_double_nothing(
    live: Live, sandbox: SandboxServer
) -> None:
    run(
        live.database.connect,
        "CREATE TABLE mirrored (id INT PRIMARY KEY, email VARCHAR(100), first_name VARCHAR(50))",
    )
    fill(live, range(ROWS))
    first = live.start(MEMBERS)
    assert live.ended(MEMBERS, first, within=120) == "success"
    everybody = users(sandbox)
    assert len(everybody) == known(live) == ROWS
    run(live.database.connect, f"DELETE FROM mirrored WHERE id >= {STAYING}")

    rejected = live.start(MEMBERS)
    question = asked(live, rejected)
    assert question["subject"] == f"Remove {ROWS - STAYING} of {ROWS} rows of mirrored?"
    assert users(sandbox) == everybody
    answer(live, rejected, "Reject")
    assert live.ended(MEMBERS, rejected, within=120) == "success"
    assert removals(live, rejected)["outcomes"] == {}
    assert (users(sandbox), known(live)) == (everybody, ROWS)

    overtaken = live.start(MEMBERS)
    asked(live, overtaken)
    approved = live.start(MEMBERS, batch_rows=BATCH)
    asked(live, approved)
    answer(live, overtaken, "Approve")
    assert live.ended(MEMBERS, overtaken, within=120) == "success"
    assert [task["state"] for task in live.tasks(MEMBERS, overtaken, "remove")] == ["skipped"]
    assert (users(sandbox), known(live)) == (everybody, ROWS)

    sandbox.settings(latency_ms=300)
    before = sandbox.stats()["requests_total"]
    answer(live, approved, "Approve")
    lived = kill_deliveries(live, KILLS, random.Random(SEED), within=90)
    sandbox.settings(latency_ms=0)
    assert live.ended(MEMBERS, approved, within=120) == "success", f"seed {SEED}"
    tries = sum(task["try_number"] for task in live.tasks(MEMBERS, approved, "remove"))
    assert (len(lived), tries) == (KILLS, KILLS + 2), f"seed {SEED}: a kill missed"
    assert removals(live, approved)["outcomes"] == {"delivered": ROWS - STAYING}, f"seed {SEED}"
    assert users(sandbox) == {email(number) for number in range(STAYING)}
    assert known(live) == STAYING
    # Of what a kill cut off only what was under way is sent again.
    sent = sandbox.stats()["requests_total"] - before
    assert sent <= ROWS - STAYING + KILLS * IN_FLIGHT, f"seed {SEED}: {sent} requests"

    fill(live, range(ROWS - 10, ROWS))
    back = live.start(MEMBERS)
    assert live.ended(MEMBERS, back, within=120) == "success"
    assert removals(live, back)["removed"] == 0
    assert len(users(sandbox)) == known(live) == STAYING + 10
