"""Random histories of a sync that mirrors its source; after a good run at the end the platform holds the source.

Rows leave and come back, deliveries and removals fail, workers die, runs overtake each other, questions stay open. A
dry run before the last run says what that will do. Nobody is removed whom the newest run has seen in the source.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from devstack.database import PrivateServer
from reverse_etl.consent import Consent
from reverse_etl.iterable.config import DeleteUser, UserUpdate
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.mapping import Constant, Field
from reverse_etl.mirror import Mirror
from reverse_etl.operators.base import RESULT
from reverse_etl.operators.preview import Preview
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from reverse_etl.sync import Sync
from tests.database import run as execute
from tests.ledger.histories import drawing
from tests.ledger.mirror_histories import (
    BACK,
    GONE,
    GOOD,
    LAST_CHANGED,
    RENAMED,
    Change,
    Fault,
    Kill,
    MortalDestination,
    Play,
    World,
    found,
)
from tests.ledger.mirror_tasks import APPROVE, DELIVER, EXTRACT, FIND, REMOVE, REPORT

KEYS = (1, 2, 3)
PEOPLE = ("ann", "ben", "cid")
NEW_KEY, STRANGER = 4, "dan"
MAPPING = UserUpdate((Field("name"), Constant("member", value=True)))
DELETE, MARK = DeleteUser(), UserUpdate((Constant("member", value=False),))
TABLE = "CREATE TABLE mirrored (id INT PRIMARY KEY, email VARCHAR(100), name VARCHAR(50))"

Step = Callable[[World], None]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(limits="off") as started:
        yield started


@pytest.fixture
def world(
    ledger: Ledger,
    url: str,
    sandbox: SandboxServer,
    server: PrivateServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., World]]:
    """Return a function that makes a world of whoever is in the source first."""
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__STAGING_PATH", f"file://{tmp_path}/staging")
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__OUTPUT_PATH", f"file://{tmp_path}/output")
    monkeypatch.setenv("AIRFLOW_CONN_REVERSE_ETL_LEDGER", ledger_connection(url))
    platform = {
        "conn_type": "iterable",
        "host": sandbox.url,
        "password": SERVER_KEY,
        "extra": {"tries": 1, "rate_limits": {"/api/users/{email}": 10_000, "/api/users/update": 10_000}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_ITERABLE_DEFAULT", json.dumps(platform))
    query = tmp_path / "mirrored.sql"
    query.write_text("SELECT id, email, name FROM mirrored ORDER BY id")
    execute(server.connect, "DROP TABLE IF EXISTS mirrored", TABLE)
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(server.airflow_connection()))

    def new(removal: Any = DELETE, share: float = 1, rows: dict[int, str] | None = None) -> World:
        sandbox.reset()
        destination = MortalDestination(email="email", user=MAPPING, calls="single")
        name = f"s{uuid.uuid4().hex}"
        sync = Sync(name, query, ("id",), destination, mirror=Mirror(removal, share))
        return World(ledger, sandbox, server.connect, sync, rows or {})

    yield new
    execute(server.connect, "DROP TABLE mirrored")


def ledger_connection(url: str) -> str:
    """Return the ledger as an Airflow connection."""
    place = make_url(url)
    parts = {"login": place.username, "password": place.password, "host": place.host, "port": place.port}
    if place.drivername == "sqlite":
        parts = {"host": place.database}
    return json.dumps({"conn_type": place.drivername, "schema": place.database, **parts})


# --- What happens -----------------------------------------------------------------------------------------------


def begin(world: World, play: Play, *, send: str, batch_rows: int) -> None:
    world.start(play, send=send, batch_rows=batch_rows)


def go_on(world: World, which: int, play: Play) -> None:
    """A run that stopped goes on: the newest, or one from before."""
    going = [run for run in world.runs if run.state_of(REPORT) == "none"]
    if going:
        world.play(going[max(which, -len(going))], play)


def clear(world: World, which: int, task: str, play: Play) -> None:
    """A person clears a task of a run and all after it."""
    if world.runs:
        run = world.runs[max(which, -len(world.runs))]
        run.clear(task)
        world.play(run, play)


def overtaken(world: World, *, key: int, stops: str, back: int, other: Play) -> None:
    """A run that found somebody gone stops; they come back, maybe by another row; another run begins; it goes on."""
    person = world.rows.get(key)
    world.change([(key, GONE)])
    older = world.start(Play(until=stops, answer=""))
    world.change([(back, person or BACK)])
    world.start(other)
    world.play(older, GOOD)


def undone(world: World, *, key: int, mishap: Kill | Fault, reports: bool) -> None:
    """Somebody leaves, or comes where the key is new, something happens to that, and it is undone in the source."""
    leaves = key in world.rows
    world.change([(key, GONE if leaves else STRANGER)])
    task = REMOVE if leaves else DELIVER
    world.start(Play(mishap=replace(mishap, task=task), reports=reports))
    world.change([(key, BACK if leaves else GONE)])


def replay(world: World) -> None:
    world.replay()


BOOLEANS = st.booleans()
NEWER_OR_OLDER = st.sampled_from([-1, -1, -2])
KILLS = st.one_of(
    st.builds(Kill, st.sampled_from([DELIVER, REMOVE]), st.integers(1, 3), st.booleans()),
    st.builds(Kill, st.sampled_from([EXTRACT, DELIVER, FIND, REMOVE])),
)
FAULTS = st.builds(
    Fault, st.sampled_from([DELIVER, REMOVE]), st.sampled_from(["lost_reply", "500", "400"]), st.integers(0, 2)
)
PLAYS = st.builds(
    Play,
    until=st.sampled_from(["", "", "", "", DELIVER, FIND, APPROVE, REMOVE, REPORT]),
    mishap=st.one_of(st.none(), KILLS, KILLS, FAULTS),
    answer=st.sampled_from(["Approve", "Approve", "Reject", ""]),
    reports=BOOLEANS,
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from([LAST_CHANGED, LAST_CHANGED, *KEYS]),
        st.sampled_from([GONE, GONE, GONE, BACK, BACK, RENAMED, *PEOPLE]),
    ),
    min_size=1,
    max_size=2,
)
"""Most mistakes show where somebody leaves or comes back right after something went wrong."""

SEND = st.sampled_from(["changed", "changed", "all"])
BATCH_ROWS = st.sampled_from([1, 2, 10])
BEGINNINGS = st.builds(
    lambda play, send, batch_rows: partial(begin, play=play, send=send, batch_rows=batch_rows), PLAYS, SEND, BATCH_ROWS
)
STEPS: st.SearchStrategy[Step] = st.one_of(
    BEGINNINGS,
    BEGINNINGS,
    st.builds(lambda which, play: partial(go_on, which=which, play=play), NEWER_OR_OLDER, PLAYS),
    st.builds(
        lambda which, task, play: partial(clear, which=which, task=task, play=play),
        NEWER_OR_OLDER,
        st.sampled_from([EXTRACT, DELIVER, FIND, APPROVE, REMOVE]),
        PLAYS,
    ),
    st.builds(
        lambda key, stops, back, other: partial(overtaken, key=key, stops=stops, back=back, other=other),
        st.sampled_from(KEYS),
        st.sampled_from([DELIVER, FIND, APPROVE, REMOVE, REMOVE]),
        st.sampled_from([LAST_CHANGED, *KEYS]),
        PLAYS,
    ),
    st.builds(
        lambda key, mishap, reports: partial(undone, key=key, mishap=mishap, reports=reports),
        st.sampled_from([*KEYS, NEW_KEY, NEW_KEY]),
        st.one_of(KILLS, FAULTS),
        BOOLEANS,
    ),
    st.just(replay),
)


def check_the_end(world: World) -> None:
    """Compare what a dry run says with what one good and approved run does, and the platform with the source."""
    said, before = world.predict(), world.sandbox.stats()["requests_total"]
    run = world.start(GOOD)
    assert (run.state_of(REPORT), world.wrongly_removed) == ("success", [])
    assert world.differences() == {}
    assert said.leaving is not None
    assert {name: said.leaving.as_dict()[name] for name in found(run)} == found(run)
    assert said.prediction["rows"]["unchanged"] == run.pull(REPORT, RESULT)["totals"]["unchanged"]
    assert requests_of(said) == world.sandbox.stats()["requests_total"] - before
    left = world.predict()
    assert left.leaving is not None
    assert (left.leaving.removed, requests_of(left)) == (0, 0), "nothing is left to do"


def requests_of(said: Preview) -> int:
    return sum(here["requests"] for here in said.prediction["requests"].values())


EXAMPLES = {"sqlite": 40, "mysql": 10, "postgresql": 7}
"""A server takes longer to open a ledger, which every task does."""


def test_after_any_history_a_good_run_leaves_whom_the_source_has_and_nobody_else(
    world: Callable[..., World], url: str
) -> None:
    @drawing(EXAMPLES, url)
    @given(
        removal=st.sampled_from([DELETE, MARK]),
        share=st.sampled_from([0.3, 1]),
        history=st.lists(st.tuples(CHANGES, STEPS), min_size=1, max_size=4),
        last=CHANGES,
    )
    def play(removal: Any, share: float, history: list[tuple[list[Change], Step]], last: list[Change]) -> None:
        played = world(removal, share, dict(zip(KEYS, PEOPLE, strict=True)))
        played.start(GOOD)
        for changes, step in history:
            played.change(changes)
            step(played)
        played.change(last)
        check_the_end(played)

    play()


# --- Histories in which somebody stayed at the platform, or was missed there ------------------------------------


@pytest.mark.parametrize("reports", [False, True], ids=["", "reported"])
@pytest.mark.parametrize("arrives", [False, True], ids=["not sent", "sent"])
def test_who_was_sent_by_a_worker_that_died_is_removed(
    world: Callable[..., World], reports: bool, arrives: bool
) -> None:
    played = world(rows={1: "ann"})
    played.start(GOOD)
    played.change([(2, "ben")])
    played.start(Play(mishap=Kill(DELIVER, 1, arrives), reports=reports))
    assert ("ben@example.com" in played.held()) == arrives
    played.change([(2, GONE)])
    check_the_end(played)


def test_who_was_sent_by_a_worker_that_died_is_removed_once(world: Callable[..., World]) -> None:
    """The batch stays open for ever."""
    played = world(rows={1: "ann", 2: "ben"})
    played.start(Play(mishap=Kill(DELIVER), reports=False))
    played.change([(2, GONE)])
    assert [found(played.start(GOOD))["removed"] for _ in range(3)] == [1, 0, 0]
    assert played.predict().prediction["rows"]["unchanged"] == 1


def test_a_row_that_was_refused_and_cut_off_is_not_removed(world: Callable[..., World]) -> None:
    """Of a batch whose worker died, the platform holds nobody it has refused."""
    played = world(rows={1: "ann", 2: "ben"})
    played.start(Play(mishap=Fault(DELIVER, "400"), until=FIND))
    played.play(played.runs[-1], Play(mishap=Kill(FIND), reports=False))
    played.change([(1, GONE), (2, GONE)])
    assert found(played.start(GOOD)) == {"known": 0, "removed": 0, "staying": 0, "unknown": 0}


@pytest.mark.parametrize("task", [EXTRACT, DELIVER])
def test_a_run_that_was_overtaken_brings_nobody_back(world: Callable[..., World], task: str) -> None:
    played = world(rows={1: "ann"})
    played.start(GOOD)
    played.change([(2, "ben")])
    old = played.start(Play(until=DELIVER))
    played.change([(2, GONE)])
    played.start(GOOD)
    if task == EXTRACT:
        old.clear(EXTRACT)
    played.play(old, GOOD)
    assert old.state_of(DELIVER) == ("success" if task == EXTRACT else "failed")
    assert set(played.held()) == {"ann@example.com"}
    check_the_end(played)


def test_a_clear_of_the_deliveries_of_an_older_run_brings_nobody_back(world: Callable[..., World]) -> None:
    played = world(rows={1: "ann", 2: "ben"})
    old = played.start(GOOD)
    played.change([(2, GONE)])
    played.start(GOOD)
    old.clear(DELIVER)
    played.play(old, GOOD)
    assert set(played.held()) == {"ann@example.com"}
    check_the_end(played)


def test_who_may_have_arrived_and_was_refused_later_is_removed(world: Callable[..., World]) -> None:
    played = world(rows={1: "ann", 2: "ben"})
    played.start(Play(mishap=Fault(DELIVER, "lost_reply", after=1)))
    played.start(Play(mishap=Fault(DELIVER, "400")))
    assert set(played.held()) == {"ann@example.com", "ben@example.com"}
    played.change([(2, GONE)])
    check_the_end(played)


def test_who_was_replayed_is_removed(world: Callable[..., World]) -> None:
    """The row was refused, left, came back, and was sent by a replay."""
    played = world(rows={1: "ann", 2: "ben"})
    played.start(Play(mishap=Fault(DELIVER, "400", after=1)))
    played.change([(2, GONE)])
    played.start(GOOD)
    played.change([(2, "ben")])
    played.replay()
    assert "ben@example.com" in played.held()
    played.change([(2, GONE)])
    check_the_end(played)


def test_who_was_removed_by_one_row_is_sent_when_another_comes_back(world: Callable[..., World]) -> None:
    """The rows are in batches of their own, and the worker dies between them."""
    played = world(rows={1: "ben", 2: "ben"})
    played.start(GOOD)
    played.change([(1, GONE), (2, GONE)])
    run = played.start(Play(until=REMOVE), batch_rows=1)
    assert run.execute((REMOVE, 0)) is None
    assert played.held() == {}
    played.change([(2, "ben")])
    check_the_end(played)


def test_an_older_run_that_compares_late_forgets_nobody_of_a_newer_one(world: Callable[..., World]) -> None:
    played = world(rows={1: "ann"})
    old = played.start(Play(until=FIND))
    played.change([(2, "ben")])
    newer = played.start(Play(until=DELIVER))
    played.play(old, GOOD)
    played.play(newer, Play(until=FIND))
    played.change([(2, GONE)])
    check_the_end(played)


def test_a_late_report_makes_nobody_known_again(world: Callable[..., World]) -> None:
    """The worker died when all was sent and told, and the row was removed before the report asked for it."""
    played = world(rows={1: "ann", 2: "ben"})
    old = played.start(Play(mishap=Kill(DELIVER), reports=False))
    played.change([(2, GONE)])
    played.start(GOOD)
    played.play(old, GOOD)
    assert old.state_of(REPORT) == "failed"
    played.change([(2, "ben")])
    check_the_end(played)


@pytest.mark.parametrize("mishap", [Kill(REMOVE, 1, arrives=True), Kill(REMOVE), Fault(REMOVE, "lost_reply")], ids=str)
def test_who_comes_back_after_a_removal_nobody_heard_of_is_sent(
    world: Callable[..., World], mishap: Kill | Fault
) -> None:
    played = world(rows={1: "ann", 2: "ben"})
    played.start(GOOD)
    undone(played, key=2, mishap=mishap, reports=False)
    assert set(played.held()) == {"ann@example.com"}
    check_the_end(played)


def test_a_sync_that_got_a_query_of_people_not_to_contact_since_a_worker_died_goes_on(
    world: Callable[..., World], tmp_path: Path
) -> None:
    """Nobody noted then whom of the batch not to contact."""
    played = world(rows={1: "ann", 2: "ben"})
    played.start(Play(mishap=Kill(DELIVER, 1), reports=False))
    people = tmp_path / "no_mail.sql"
    people.write_text("SELECT email FROM mirrored WHERE id = 9")
    played.sync = replace(played.sync, consent=Consent(query=people))
    check_the_end(played)
