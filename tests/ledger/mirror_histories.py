"""A source, a platform that mirrors it, and runs in which anything may happen between and within the tasks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, ClassVar

from airflow.sdk import ObjectStoragePath

from reverse_etl.delivery.destination import Call, Tell, Verdict
from reverse_etl.iterable.config import IterableDestination, IterableRemoval
from reverse_etl.iterable.hook import IterableHook
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.operators.mirror import LEAVING
from reverse_etl.operators.preview import Preview, preview
from reverse_etl.operators.replay import ReplayRun, Wanted, finish, replay_batch, reread
from reverse_etl.operators.turns import give_turn_back, keeping_turn
from reverse_etl.run_day import RunDay
from reverse_etl.sandbox.testing import SandboxServer
from reverse_etl.staging.batches import read_rows
from reverse_etl.sync import REMOVAL, Sync
from tests.database import Connect
from tests.database import run as execute
from tests.ledger.mirror_tasks import APPROVE, DELIVER, DONE, EXTRACT, FIND, ORDER, REMOVE, REPORT, Killed, Run, Worker

LOG = logging.getLogger(__name__)

BATCH_ROWS = 2
NEVER = 1_000

Change = tuple[int, str]
GONE, BACK, RENAMED = "", "back", "renamed"
LAST_CHANGED = 0
"""Stands for the key that was changed last."""


@dataclass(frozen=True)
class Kill:
    """The worker dies at its nth request, before that leaves or after it arrived, or when it would tell of its end."""

    task: str
    request: int = NEVER
    arrives: bool = False


@dataclass(frozen=True)
class Fault:
    """What the platform does to all requests of a task after the first so many."""

    task: str
    kind: str
    after: int = 0

    def rule(self) -> dict[str, Any]:
        kind = {"kind": self.kind} if not self.kind.isdigit() else {"kind": "status", "status": int(self.kind)}
        return {**kind, "after": self.after}


@dataclass(frozen=True)
class Play:
    """How far a run goes: up to a task, with a mishap in one, a question being answered or left open.

    Where a task failed, the run either ends with its report, or waits for a retry.
    """

    until: str = ""
    mishap: Kill | Fault | None = None
    answer: str = "Approve"
    reports: bool = True


GOOD = Play()


@dataclass
class World:
    """`rows` is the source: people by key. Everything of one world has its own sync, so worlds may share a ledger."""

    ledger: Ledger
    sandbox: SandboxServer
    connect: Connect
    sync: Sync
    rows: dict[int, str] = field(default_factory=dict)
    left: dict[int, str | None] = field(default_factory=dict)
    last_changed: int = 1
    names: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    begun: int = 0
    attempts: list[tuple[str, int]] = field(default_factory=list)
    newest_rows: frozenset[str] = frozenset()
    read: dict[str, frozenset[str]] = field(default_factory=dict)
    remembered: dict[int, str] = field(default_factory=dict)
    displaced: set[str] = field(default_factory=set)
    wrongly_removed: list[str] = field(default_factory=list)
    holder: tuple[str, str] | None = None
    mishap: Kill | None = None
    requests: int = 0
    worker: Worker = field(default_factory=Worker)

    def __post_init__(self) -> None:
        MORTAL[self.sync.name] = self
        self._write()

    # --- The source -------------------------------------------------------------------------------------------

    def change(self, changes: Sequence[Change]) -> None:
        """Rows leave, come, name another person, or their person is renamed."""
        for key, what in changes:
            self.last_changed = key or self.last_changed
            self._change(self.last_changed, what)
        self._write()

    def _change(self, key: int, what: str) -> None:
        person = self.rows.pop(key, None)
        if what == GONE:
            self.left[key] = person or self.left.get(key)
        elif what == RENAMED and person:
            self.rows[key] = person
            self.names[person] = "Bob" if self.name(person) == "Ada" else "Ada"
        elif here := {RENAMED: None, BACK: person or self.left.get(key)}.get(what, what):
            self.rows[key] = here

    def name(self, person: str) -> str:
        return self.names.get(person, "Ada")

    def _write(self) -> None:
        rows = [f"({key}, '{email(person)}', '{self.name(person)}')" for key, person in self.rows.items()]
        insert = [f"INSERT INTO mirrored VALUES {', '.join(rows)}"] if rows else []
        execute(self.connect, "DELETE FROM mirrored", *insert)

    def _read(self, run: Run) -> None:
        """Note what a run that reads the source now reads: people who lose their row to another are left alone."""
        here = frozenset(email(person) for person in self.rows.values())
        attempt = (run.run_id, run.clear_number)
        if attempt not in self.attempts:
            self.attempts.append(attempt)
        if attempt == self.attempts[-1]:
            self.newest_rows = here
        self.read[run.run_id] = here
        self._remember(self.rows)

    def _remember(self, rows: Mapping[int, str]) -> None:
        here = {email(person) for person in rows.values()}
        for key, person in rows.items():
            before = self.remembered.get(key, person)
            if before != person and email(before) not in here and email(before) in self.held():
                self.displaced.add(email(before))
        self.remembered |= rows

    # --- Runs -------------------------------------------------------------------------------------------------

    def start(self, play: Play, **params: object) -> Run:
        """Begin a run, and play it."""
        self.begun += 1
        given = {"batch_rows": BATCH_ROWS, "date": "2026-01-13", "send": "changed", **params}
        run = Run(self.sync, f"run {self.begun}", given)
        self.runs.append(run)
        self.play(run, play)
        return run

    def play(self, run: Run, play: Play) -> None:
        """Go on with a run: tasks that are not done are tried (again), in order."""
        for task in ORDER:
            state = run.state_of(task)
            if state in DONE or self._is_skipped(run, task):
                continue
            if task == play.until:
                return
            if task != REPORT and not self._task(run, task, play):
                if run.state_of(task) == "waiting" or not play.reports:
                    return
                break
        self._execute(run, (REPORT, -1), play)
        is_newest = self.attempts[-1:] == [(run.run_id, run.clear_number)]
        if is_newest and run.state_of(DELIVER) == "success" and not isinstance(play.mishap, Fault):
            self.displaced -= self.read[run.run_id]

    def _is_skipped(self, run: Run, task: str) -> bool:
        return task == REMOVE and run.state_of(APPROVE) == "skipped"

    def _task(self, run: Run, task: str, play: Play) -> bool:
        """Run the instances of a task that are not done; return whether the run may go on."""
        self.requests = 0
        for place in run.places(task):
            if run.states.get(place) == "waiting":
                self._take_turn(run)
                if play.answer:
                    run.answer(play.answer)
            elif run.states.get(place) not in DONE:
                self._execute(run, place, play)
                if run.states[place] == "waiting" and play.answer:
                    self._take_turn(run)
                    run.answer(play.answer)
        return run.state_of(task) in DONE

    def _execute(self, run: Run, place: tuple[str, int], play: Play) -> None:
        task, mishap = place[0], play.mishap if play.mishap and play.mishap.task == place[0] else None
        self._take_turn(run)
        if task == EXTRACT:
            self._read(run)
        run.worker = self.worker = Worker()
        self.mishap = mishap if isinstance(mishap, Kill) and self.requests < mishap.request else None
        if isinstance(mishap, Fault):
            self.sandbox.faults([mishap.rule()])
        if self.mishap and self.mishap.request == NEVER:
            self.worker.is_dead = True
        run.execute(place)
        if isinstance(mishap, Fault):
            self.sandbox.faults([])
        self.mishap = None

    def _take_turn(self, run: Run) -> None:
        """Let the time pass after which a run of which nobody heard counts as dead."""
        here = (run.sync.name, run.run_id)
        if self.holder not in (None, here):
            give_turn_back(self.sync.name, *self.holder)
        self.holder = here

    def replay(self) -> None:
        """Replay what is in quarantine."""
        self.begun += 1
        replay = ReplayRun(self.sync.name, f"replay {self.begun}")
        self._take_turn(Run(self.sync, replay.run_id))
        with keeping_turn(self.sync, replay.dag_id, replay.run_id):
            found = reread(self.sync, Wanted(self.sync.name), replay.folder(self.sync.name), batch_rows=BATCH_ROWS)
            read = [row for batch in found.batches for rows in read_rows(ObjectStoragePath(batch.path)) for row in rows]
            self._remember({int(str(row["id"])): self.rows[int(str(row["id"]))] for row in read})
            done = [(batch, replay_batch(self.sync, batch, replay, LOG).totals) for batch in found.batches]
            finish(self.sync.name, replay, done)
        give_turn_back(self.sync.name, replay.dag_id, replay.run_id)

    # --- What is to be seen -----------------------------------------------------------------------------------

    def predict(self) -> Preview:
        """Return what a dry run says of a run that sends what changed."""
        day = RunDay(date(2026, 1, 13), 7)
        return preview(self.sync, day, sends_all=False, batch_rows=BATCH_ROWS, run_id="p", log=LOG)

    def held(self) -> dict[str, str]:
        """Return who is at the platform and was not removed, by e-mail, and their names."""
        found = {str(user["email"]): user["dataFields"] for user in self.sandbox.users()}
        return {who: fields.get("name") for who, fields in found.items() if fields.get("member", True)}

    def differences(self) -> dict[str, tuple[object, object]]:
        """Return by e-mail what the platform holds and what it should, but for people who lost their row to another."""
        held, wanted = self.held(), {email(person): self.name(person) for person in self.rows.values()}
        people = {*held, *wanted} - (self.displaced - {*wanted})
        return {who: (held.get(who), wanted.get(who)) for who in people if held.get(who) != wanted.get(who)}

    def watch(self, calls: Sequence[Call]) -> None:
        """Note people about to be removed who are in the source as the newest run read it."""
        self.wrongly_removed += [who for call in calls if (who := call.identity["email"]) in self.newest_rows]


def email(person: str) -> str:
    return f"{person}@example.com"


def found(run: Run) -> Mapping[str, Any]:
    """Return how many rows a run found to have left, by what became of them."""
    leaving: Mapping[str, Any] = run.pull(FIND, LEAVING)
    return {name: leaving[name] for name in ("known", "removed", "staying", "unknown")}


# --- The platform, as a worker reaches it that may die --------------------------------------------------------------

MORTAL: dict[str, World] = {}
"""The world of each sync."""


class MortalDestination(IterableDestination):
    """The destination, reached by workers that may die."""

    hook_class: ClassVar[str] = f"{__name__}.MortalHook"

    def removal(self, action: object, key: tuple[str, ...]) -> Any:
        removal = super().removal(action, key)
        if isinstance(removal, IterableRemoval):
            return MortalRemoval(removal.email, removal.user_id, removal.conn_id, removal.action)
        return removal


class MortalRemoval(IterableRemoval):
    """The removal, done by workers that may die."""

    hook_class: ClassVar[str] = f"{__name__}.MortalHook"


class MortalHook(IterableHook):
    @asynccontextmanager
    async def destination(self, sync: Sync, paces: Any = None) -> Any:
        async with super().destination(sync, paces) as destination:
            world = MORTAL.get(sync.name.removesuffix(REMOVAL))
            yield destination if world is None else Mortal(destination, world, removes=sync.name.endswith(REMOVAL))


class Mortal:
    """A destination whose worker may be killed."""

    def __init__(self, destination: Any, world: World, *, removes: bool) -> None:
        self._destination = destination
        self._world = world
        self._removes = removes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._destination, name)

    async def send(self, calls: Sequence[Call], tell: Tell) -> Sequence[Verdict]:
        world = self._world
        world.requests += 1
        if self._removes:
            world.watch(calls)
        kill = world.mishap
        if kill is None or world.requests < kill.request:
            verdicts: Sequence[Verdict] = await self._destination.send(calls, tell)
            return verdicts
        if kill.arrives:
            await self._destination.send(calls, tell)
        world.worker.is_dead = True
        raise Killed
