"""A platform that fails in every way it can, while rows of all kinds are delivered in bulk and one by one."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from airflow.sdk import RetryAction

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.errors import DestinationUnavailable, UserSuppressed
from reverse_etl.iterable.bulk_answers import LISTS
from reverse_etl.iterable.config import IterableDestination
from reverse_etl.iterable.payloads import EVENT_TRACK, USER_UPDATE, RowRenderer
from reverse_etl.ledger.journal import FINAL
from reverse_etl.ledger.records import RunRef
from reverse_etl.operators.base import RETRY_POLICY
from reverse_etl.sandbox.faults import FaultRule
from tests.reliability import batches, source, workers
from tests.reliability.batches import deliver
from tests.reliability.conftest import Scene
from tests.reliability.source import Fate, Source
from tests.reliability.syncs import Calls, make_sync

REFUSED = source.BAD_IN_BULK["refused"]

Rule = dict[str, Any]

LOST: Rule = {"kind": "lost_reply"}
RESET: Rule = {"kind": "reset"}
THROTTLED: Rule = {"kind": "status", "status": 429}
THROTTLED_WITH_HINT: Rule = {"kind": "status", "status": 429, "headers": {"Retry-After": "0.2"}}
BROKEN: Rule = {"kind": "status", "status": 500}
UNAVAILABLE: Rule = {"kind": "status", "status": 503}
HTML: Rule = {"kind": "html", "status": 502}
HTML_AS_SUCCESS: Rule = {"kind": "html", "status": 200}
GARBAGE: Rule = {"kind": "garbage"}
UNEXPLAINED: Rule = {"kind": "refuse_rows", "share": 0.3, "list": "unexplained"}

LOSSES = (LOST, RESET, GARBAGE)
ANSWERS = (THROTTLED_WITH_HINT, BROKEN, UNAVAILABLE, HTML, HTML_AS_SUCCESS)
ALL = (*LOSSES, *ANSWERS, UNEXPLAINED)


def trouble(rules: tuple[Rule, ...], seed: int, probability: float, times: int) -> list[Rule]:
    """Return the rules for the endpoints that are written to, each with its own draws, `times` times at most."""
    share = probability / len(rules)
    return [
        {"path": path, "seed": 100 * seed + number, "probability": share, "times": times, **rule}
        for path in ("/api/users/*", "/api/events/*")
        for number, rule in enumerate(rules)
    ]


@pytest.mark.parametrize(
    ("calls", "rules", "probability", "seed"),
    [
        pytest.param("single", LOSSES, 0.4, 11, id="single-losses-11"),
        pytest.param("single", ANSWERS, 0.4, 12, id="single-answers-12"),
        pytest.param("single", ALL, 0.4, 14, id="single-all-14"),
        pytest.param("bulk", LOSSES, 0.6, 15, id="bulk-losses-15"),
        pytest.param("bulk", ANSWERS, 0.6, 16, id="bulk-answers-16"),
        pytest.param("bulk", ALL, 0.6, 17, id="bulk-all-17"),
    ],
)
def test_a_platform_in_trouble_loses_and_doubles_nothing(
    scene: Scene, calls: Calls, rules: tuple[Rule, ...], probability: float, seed: int
) -> None:
    # In bulk an event of a wrong type is found by dividing the pack, a dozen requests that may each fail: too slow.
    # A refused row has one reason in a bulk answer and another in a single one; here rows go either way.
    left_out = {"single": (), "bulk": ("eventless", "refused") if UNEXPLAINED in rules else ("eventless",)}[calls]
    bad = [kind for kind in source.BAD if kind not in left_out]
    planned = scene.plan(f"faults_{seed}", 120, calls, seed=seed, bad=bad)
    scene.platform_at(tries=2)  # waits of one second, and more rows left to Airflow's retry
    scene.sandbox.faults(trouble(rules, seed, probability, times=3 if calls == "single" else 1))
    finished = scene.run(planned, calls, retries=5, batch_rows=60)
    fired = sum(int(rule["fired"]) for rule in scene.sandbox.get("/sandbox/faults"))
    assert fired >= 3, f"seed {seed}: only {fired} faults came"
    scene.check(planned, finished)


@pytest.mark.parametrize("seed", [21])
@pytest.mark.parametrize("calls", ["single", "bulk"])
def test_a_429_without_a_hint_costs_time_and_nothing_else(scene: Scene, calls: Calls, seed: int) -> None:
    planned = scene.plan(f"throttled_{seed}", 120, calls, seed=seed)
    scene.sandbox.faults(trouble((THROTTLED,), seed, 1.0, times=1))
    finished = scene.run(planned, calls, retries=0)
    assert scene.sandbox.stats()["throttled"] >= 1
    scene.check(planned, finished)


@pytest.mark.parametrize("seed", [31])
@pytest.mark.parametrize("listed", ["unexplained", "invalidEmails", "forgottenEmails", "conflictEmails"])
def test_half_refused_batches_end_with_the_reason_of_each_row(scene: Scene, listed: str, seed: int) -> None:
    planned = scene.plan(f"halves_{seed}", 120, "bulk", seed=seed)
    rule = {"path": "/api/users/bulkUpdate", "kind": "refuse_rows", "share": 0.5, "seed": seed, "list": listed}
    scene.sandbox.faults([rule])
    finished = scene.run(planned, "bulk", retries=0, failure_share=1.0)
    scene.check(refused_by(FaultRule(**rule), planned, listed, scene.folder), finished)


def refused_by(rule: FaultRule, planned: Source, listed: str, folder: Path) -> Source:
    """Return the source with the fates under a rule that refuses the same rows of a bulk update every time."""
    if listed in ("unexplained", "conflictEmails"):  # sent again singly, and refused there if they deserve it
        refusal = None
    else:
        kind, code = LISTS[listed.removesuffix("Emails")]
        outcome = Outcome.SUPPRESSED if issubclass(kind, UserSuppressed) else Outcome.REJECTED
        refusal = Fate(outcome, code, USER_UPDATE)
    (folder / "unused.sql").write_text("SELECT 1")
    sync = make_sync(planned.name, folder / "unused.sql", "bulk")
    assert isinstance(sync.destination, IterableDestination)
    render = RowRenderer(sync.name, sync.key, sync.destination)
    fates = list(planned.fates)
    for number, row in enumerate(planned.rows):
        if fates[number].outcome is Outcome.INVALID:
            continue
        values = {**row._asdict(), "view_id": row.id}
        if rule.refuses(orjson.loads(render(values).calls[0].body)):
            fates[number] = refusal or (source.BAD["refused"] if fates[number] == REFUSED else fates[number])
    return Source(planned.name, planned.rows, tuple(fates))


@pytest.mark.parametrize("seed", [41])
def test_rows_not_found_at_first_are_sent_again_until_they_are(scene: Scene, seed: int) -> None:
    planned = scene.plan(f"late_{seed}", 120, "bulk", seed=seed)
    late = {"path": "/api/events/trackBulk", "kind": "refuse_rows", "share": 0.5, "seed": seed, "times": 1}
    scene.sandbox.faults([{**late, "list": "notFoundEmails"}])
    finished = scene.run(planned, "bulk", retries=0)
    scene.check(planned, finished)


@pytest.mark.parametrize("seed", [43])
def test_a_kill_while_late_users_are_waited_for_sends_only_what_was_open_again(scene: Scene, seed: int) -> None:
    planned = scene.plan(f"waiting_{seed}", 120, "bulk", seed=seed)
    batch, results = scene.extract(planned, "bulk"), scene.folder / "results.parquet"
    late = {"path": "/api/events/trackBulk", "kind": "refuse_rows", "share": 0.5, "seed": seed}
    scene.sandbox.faults([{**late, "list": "notFoundEmails"}])
    before = len(scene.sandbox.events())
    command = ["batch", planned.name, scene.query(planned), "bulk", json.dumps(batch), f"file://{results}"]
    with workers.started([command], [{}]) as (process,):
        wait_for_silence(scene)
        assert process.poll() is None
    stored = len(scene.sandbox.events()) - before
    with scene.open_ledger() as ledger:
        marked = ledger.begin(RunRef(planned.name, batches.RUN, planned.name, 0, batches.DAY, 7)).outcomes(0)
    events = [mark for mark in marked if (mark.call, mark.outcome) == (EVENT_TRACK, Outcome.DELIVERED)]
    assert len(events) == stored > 0, f"seed {seed}: {len(events)} of {stored} events were recorded before the kill"
    scene.sandbox.faults([])
    again = deliver(planned.name, scene.query(planned), "bulk", batch, f"file://{results}")
    assert again.stopped is None
    assert again.resumed == sum(mark.outcome in FINAL for mark in marked), f"seed {seed}"
    scene.check_batch(planned, results, again.totals)


def wait_for_silence(scene: Scene) -> None:
    """Wait until events were sent and no request came for longer than one takes: the sender waits by itself then."""
    seen: Any = {}
    since = time.monotonic()
    while time.monotonic() - since < 1.5 or "POST /api/events/trackBulk" not in seen:
        if (requests := scene.sandbox.stats()["requests"]) != seen:
            seen, since = requests, time.monotonic()
        time.sleep(0.05)


@pytest.mark.parametrize("seed", [51])
@pytest.mark.parametrize("calls", ["single", "bulk"])
def test_a_row_that_failed_does_not_come_back_over_a_later_row_of_the_same_person(
    scene: Scene, calls: Calls, seed: int
) -> None:
    """The first row of a person uses up its tries, the second is delivered; then Airflow tries the first again."""
    planned = scene.plan(f"order_{seed}", 120, calls, seed=seed)
    people = [row.email for row in planned.rows if row.email and row.email.startswith("Again")][:5]
    tries = 3
    # All these requests are about the first rows of these people: the second ones wait for them.
    down = {"path": "/api/users/*", "kind": "status", "status": 500, "match_email": people}
    scene.sandbox.faults([{**down, "times": tries if calls == "bulk" else tries * len(people)}])
    finished = scene.run(planned, calls, retries=2)
    assert finished.tries("deliver") > 1, f"seed {seed}: no row failed"
    scene.check(planned, finished)


@pytest.mark.parametrize("seed", [61])
@pytest.mark.parametrize("calls", ["single", "bulk"])
def test_a_hint_longer_than_the_patience_ends_the_try_and_the_next_one_resumes(
    scene: Scene, calls: Calls, seed: int
) -> None:
    """Airflow would wait as long as the hint says; here the next try begins at once."""
    planned = scene.plan(f"hint_{seed}", 120, calls, seed=seed)
    batch, results = scene.extract(planned, calls), scene.folder / "results.parquet"
    slow_down = {"path": "/api/events/*", "kind": "status", "status": 429, "times": 1}
    scene.sandbox.faults([{**slow_down, "headers": {"Retry-After": "125"}}])
    again = [deliver(planned.name, scene.query(planned), calls, batch, f"file://{results}") for _ in range(2)]
    stopped = again[0].stopped
    assert isinstance(stopped, DestinationUnavailable), f"seed {seed}: {stopped!r}"
    decision = RETRY_POLICY.evaluate(stopped, 1, 3)
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(seconds=125))
    assert again[1].stopped is None
    assert again[1].resumed > 0
    scene.check_batch(planned, results, again[1].totals)
