"""Random histories of a source, failures, kills and retries; after a good run at the end the platform holds the source.

A dry run before it says what it will do.

The runs send only what changed, so a single wrong `unchanged` anywhere in a history is a difference that stays.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverse_etl.ledger.ledger import Ledger
from reverse_etl.sandbox.testing import SandboxServer
from tests.ledger.histories import LAST_CHANGED, TWICE, UNCHANGED, Kill, World, drawing

KEYS = (1, *TWICE)

Step = Callable[[World], None]
Changes = list[tuple[int, str]]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(limits="off") as started:
        yield started


@pytest.fixture
def world(ledger: Ledger, sandbox: SandboxServer) -> Callable[[], World]:
    def new() -> World:
        sandbox.reset()
        return World(ledger, sandbox, f"sync_{uuid.uuid4().hex}")

    return new


def good(world: World, *, changed: bool) -> None:
    world.run(world.new_run(), world.rows(), changed=changed)


def faulty(world: World, fault: dict[str, Any], *, changed: bool) -> None:
    """Something happens to a row that has just changed."""
    world.sandbox.faults([{**fault, "match_email": world.email(world.last_changed)}])
    good(world, changed=changed)
    world.sandbox.faults([])


def killed(world: World, kill: Kill, *, changed: bool) -> None:
    world.run(world.new_run(), world.rows(), kill=kill, changed=changed)


def late_retry(world: World) -> None:
    """The last run that was killed goes on, with the rows it read then."""
    if world.killed:
        world.run(*world.killed.pop())


def cleared(world: World) -> None:
    """A person clears it: its rows are read again."""
    if world.killed:
        world.run(world.killed.pop()[0], world.rows(), attempt=1)


def beside_an_older_one(world: World, *, changed: bool) -> None:
    world.two_runs_at_once(world.rows_before, world.rows(), changed=changed)


FAULTS = [{"kind": "lost_reply"}, {"kind": "status", "status": 500}, {"kind": "status", "status": 400}]
BOOLEANS = st.booleans()
CHANGES = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(["flip", "flip", "flip", "delete"])), max_size=2)
LAST_CHANGES = st.one_of(st.just([(LAST_CHANGED, "flip")]), CHANGES)
"""Most mistakes show where a value changes back right after something went wrong."""

RUNS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda fault, changed: partial(faulty, fault=fault, changed=changed),
        st.sampled_from(FAULTS),
        BOOLEANS,
    ),
    st.builds(
        lambda number, arrives, changed: partial(killed, kill=Kill(number, arrives), changed=changed),
        st.integers(1, 2),
        BOOLEANS,
        BOOLEANS,
    ),
    st.builds(lambda changed: partial(beside_an_older_one, changed=changed), BOOLEANS),
    st.sampled_from([late_retry, cleared, partial(good, changed=True), partial(good, changed=False)]),
)


EXAMPLES = {"sqlite": 200, "mysql": 100, "postgresql": 100}


def test_after_any_history_a_good_run_makes_the_platform_hold_the_source(world: Callable[[], World], url: str) -> None:
    @drawing(EXAMPLES, url)
    @given(history=st.lists(st.tuples(CHANGES, RUNS), min_size=2, max_size=5), last=LAST_CHANGES)
    def histories(history: list[tuple[Changes, Step]], last: Changes) -> None:
        played = world()
        played.run(played.new_run(), played.rows())
        for changes, step in history:
            played.change(changes)
            step(played)
        played.change(last)
        (predicted, plan), before = played.predict(), played.sandbox.stats()["requests_total"]
        done = played.run(played.new_run(), played.rows())
        assert played.differences() == {}
        assert {"delivered": predicted.get("planned", 0), UNCHANGED: predicted.get(UNCHANGED, 0)} == {
            "delivered": done.get("delivered", 0),
            UNCHANGED: done.get(UNCHANGED, 0),
        }
        requests = sum(here["requests"] for here in plan["requests"].values())
        assert requests == played.sandbox.stats()["requests_total"] - before

    histories()


# --- Histories in which a simple comparison goes wrong ----------------------------------------------------------


def test_a_value_that_changes_back_after_a_run_that_was_killed_is_sent(world: Callable[[], World]) -> None:
    """A, then B sent by a worker that dies before anybody knows, then A again."""
    for arrives in (False, True):
        played = world()
        played.values = {1: "Ada", **played.values}
        played.run(played.new_run(), played.rows())
        played.values[1] = "Bob"
        played.run(played.new_run(), played.rows(), kill=Kill(1, arrives))
        played.values[1] = "Ada"
        played.run(played.new_run(), played.rows())
        assert played.differences() == {}


def test_a_run_that_resumes_after_a_newer_one_leaves_nothing_old_for_long(world: Callable[[], World]) -> None:
    played = world()
    played.values = {1: "Ada", 2: "Ada", **played.values}
    played.run(played.new_run(), played.rows(), kill=Kill(2, arrives=False))
    played.values |= {1: "Bob", 2: "Bob"}
    played.run(played.new_run(), played.rows())
    late_retry(played)
    assert played.differences() != {}, "the old rows were sent late"
    played.run(played.new_run(), played.rows())
    assert played.differences() == {}


def test_a_clear_sends_again_what_the_run_had_sent_and_no_more(world: Callable[[], World]) -> None:
    played = world()
    played.values = {1: "Ada", 2: "Ada", **played.values}
    played.run(played.new_run(), played.rows())
    played.values |= {1: "Bob", 3: "New"}
    run_id = played.new_run()
    assert played.run(run_id, played.rows()) == {"delivered": 2, UNCHANGED: 3}
    assert played.run(run_id, played.rows()) == {"delivered": 2, UNCHANGED: 3}
    played.sandbox.reset()
    assert played.run(run_id, played.rows(), attempt=1) == {"delivered": 2, UNCHANGED: 3}
    assert {user["dataFields"]["name"] for user in played.sandbox.users()} == {"Bob", "New"}


def test_after_a_killed_run_everything_is_sent_once_and_then_only_what_changed(world: Callable[[], World]) -> None:
    played = world()
    played.values = {1: "Ada", 2: "Ada", **played.values}
    played.run(played.new_run(), played.rows())
    played.values[1] = "Bob"
    played.run(played.new_run(), played.rows(), kill=Kill(1, arrives=True))
    assert played.run(played.new_run(), played.rows()) == {"delivered": 4}
    assert played.run(played.new_run(), played.rows()) == {UNCHANGED: 4}
