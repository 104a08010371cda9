"""The check can fail: each kind of damage, done to what a good run left, is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.reliability import check
from tests.reliability.check import Observed
from tests.reliability.conftest import HASH_KEY, Scene
from tests.reliability.source import Source


def first(calls: dict[Any, Any]) -> Any:
    return next(iter(calls))


def lose_a_user(seen: Observed) -> None:
    seen.users.pop()


def change_a_user(seen: Observed) -> None:
    seen.users[0]["dataFields"]["candidate"] = None


def store_a_user_nobody_sent(seen: Observed) -> None:
    seen.users.append({**seen.users[0], "email": f"somebody{seen.users[0]['email']}"})


def store_a_user_twice(seen: Observed) -> None:
    seen.users.append(seen.users[0])


def lose_an_event(seen: Observed) -> None:
    seen.events.pop()


def store_an_event_twice(seen: Observed) -> None:
    seen.events.append(seen.events[0])


def store_an_event_again_under_another_id(seen: Observed) -> None:
    seen.events.append({**seen.events[0], "id": "another"})


def change_an_event(seen: Observed) -> None:
    seen.events[0]["createdAt"] = "2026-01-12 00:00:00 +00:00"


def lose_a_quarantined_call(seen: Observed) -> None:
    seen.quarantine.pop(first(seen.quarantine))


def quarantine_a_good_row(seen: Observed) -> None:
    delivered = next(key for key, (outcome, _) in seen.results.items() if outcome == "delivered")
    seen.quarantine[delivered, "user_update"] = ("rejected", "invalid_identifier")


def quarantine_for_another_reason(seen: Observed) -> None:
    place = first(seen.quarantine)
    seen.quarantine[place] = (seen.quarantine[place][0], "another")


def miscount_the_totals(seen: Observed) -> None:
    seen.totals["delivered"] -= 1


def miscount_in_the_json(seen: Observed) -> None:
    seen.report["totals"]["rejected"] += 1


def miscount_in_the_ledger(seen: Observed) -> None:
    seen.ledger_totals["suppressed"] += 1


def lose_a_row_of_the_result(seen: Observed) -> None:
    seen.results.pop(first(seen.results))


def call_a_bad_row_delivered(seen: Observed) -> None:
    bad = next(key for key, (outcome, _) in seen.results.items() if outcome == "rejected")
    seen.results[bad] = ("delivered", "delivered")


def write_a_result_twice(seen: Observed) -> None:
    seen.results_repeated += 1


def forget_a_call_in_the_ledger(seen: Observed) -> None:
    seen.ledger_calls.pop(first(seen.ledger_calls))


def forget_the_end_of_the_run(seen: Observed) -> None:
    seen.ledger_finished = False


DAMAGE: dict[Callable[[Observed], None], str] = {
    lose_a_user: "its user is missing",
    change_a_user: "its user differs in candidate",
    store_a_user_nobody_sent: "1 users are there that the source does not have",
    store_a_user_twice: "1 users are there twice",
    lose_an_event: "its event is missing",
    store_an_event_twice: "its event id is there 2 times",
    store_an_event_again_under_another_id: "it has 2 events",
    change_an_event: "its event differs",
    lose_a_quarantined_call: "in quarantine is None",
    quarantine_a_good_row: "expected None",
    quarantine_for_another_reason: "'another'",
    miscount_the_totals: "do not add up",
    miscount_in_the_json: "the totals in the JSON",
    miscount_in_the_ledger: "the totals in the ledger",
    lose_a_row_of_the_result: "its result is None",
    call_a_bad_row_delivered: "its result is ('delivered', 'delivered')",
    write_a_result_twice: "1 rows have two results",
    forget_a_call_in_the_ledger: "1 calls differ between the results and the ledger",
    forget_the_end_of_the_run: "the ledger does not know the end of the run",
}


@pytest.fixture(scope="module")
def left() -> dict[str, tuple[Source, Observed]]:
    """What one good run has left, for all tests of this file."""
    return {}


@pytest.fixture
def good_run(scene: Scene, left: dict[str, tuple[Source, Observed]]) -> tuple[Source, Observed]:
    if not left:
        planned = scene.plan("checked", 200, "bulk", seed=1)
        finished = scene.run(planned, "bulk", batch_rows=100)
        scene.check(planned, finished)
        run = check.RunId(planned.name, finished.run.run_id)
        left["run"] = planned, check.observe(scene.sandbox, scene.ledger_url, run, planned, finished.result)
    planned, seen = left["run"]
    return planned, copy.deepcopy(seen)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_told(good_run: tuple[Source, Observed], damage: Callable[[Observed], None]) -> None:
    planned, seen = good_run
    damage(seen)
    told = check.differences(planned, planned.name, seen, HASH_KEY)
    assert any(DAMAGE[damage] in sentence for sentence in told), told


def test_a_good_run_has_nothing_to_tell(good_run: tuple[Source, Observed]) -> None:
    planned, seen = good_run
    assert len(seen.users) == 200 - 10 - 20  # planted rows without a profile, people with two rows
    assert check.differences(planned, planned.name, seen, HASH_KEY) == []
