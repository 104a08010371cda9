"""Random histories of a sync that mirrors its source; after a good run at the end the platform holds the source.

Rows leave and come back, deliveries and removals fail, workers die, runs overtake each other, questions stay open. A
dry run before the last run says what that will do. Nobody is removed whom the newest run has seen in the source.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from devstack.database import PrivateServer
from reverse_etl.iterable.config import DeleteUser, UserUpdate
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.mapping import Constant, Field
from reverse_etl.mirror import Mirror
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from reverse_etl.sync import Sync
from tests.database import run as execute
from tests.ledger.mirror_histories import (
    GONE,
    GOOD,
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


def replay(world: World) -> None:
    world.replay()


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
    reports=st.booleans(),
)
CHANGES = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([GONE, GONE, GONE, RENAMED, *PEOPLE])), max_size=3)
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
    st.just(replay),
)


def check_the_end(world: World) -> None:
    """Compare what a dry run says with what one good and approved run does, and the platform with the source."""
    said, before = world.predict(), world.sandbox.stats()["requests_total"]
    run = world.start(GOOD)
    assert (run.state_of(REPORT), world.wrongly_removed) == ("success", [])
    assert world.differences() == {}
    assert said.leaving is not None
    assert {name: count for name, count in said.leaving.as_dict().items() if name in found(run)} == found(run)
    assert said.leaving.reasons == run.pull(FIND, "leaving")["reasons"]
    requests = sum(here["requests"] for here in said.prediction["requests"].values())
    assert requests == world.sandbox.stats()["requests_total"] - before


@settings(
    max_examples=int(os.environ.get("N", "100")),
    deadline=None,
    derandomize=not os.environ.get("SEED"),
    database=None,
    phases=(Phase.generate, *([Phase.shrink] if os.environ.get("SHRINK") else [])),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    removal=st.sampled_from([DELETE, MARK]),
    share=st.sampled_from([0.3, 1]),
    history=st.lists(st.tuples(CHANGES, STEPS), min_size=2, max_size=6),
    last=CHANGES,
)
def test_after_any_history_a_good_run_leaves_whom_the_source_has_and_nobody_else(
    world: Callable[..., World],
    removal: Any,
    share: float,
    history: list[tuple[list[Change], Step]],
    last: list[Change],
) -> None:
    played = world(removal, share, dict(zip(KEYS[:3], PEOPLE, strict=False)))
    played.start(GOOD)
    for changes, step in history:
        played.change(changes)
        step(played)
    played.change(last)
    check_the_end(played)
