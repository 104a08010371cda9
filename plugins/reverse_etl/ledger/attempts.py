"""One attempt of one run: what it has confirmed, what became of its calls, its totals."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Row,
    Select,
    Update,
    and_,
    delete,
    func,
    not_,
    select,
    update,
)

from reverse_etl.delivery.journal import Marks
from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.comparing import Comparison
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.labels import Labels
from reverse_etl.ledger.marking import Mark, cleaned, grouped
from reverse_etl.ledger.marks import recorded
from reverse_etl.ledger.records import Clock, Marked, RunRef
from reverse_etl.ledger.schema import MAPPINGS, OPEN_BATCHES, OUTCOME_NUMBERS, RUNS
from reverse_etl.ledger.settling import Settling, opened_batch
from reverse_etl.ledger.times import MICROSECONDS
from reverse_etl.ledger.upserts import Upsert, insert_new


class Attempt:
    """An attempt of a run, as `Ledger.begin` returns it; used by every worker of the run at once.

    What is `confirmed` belongs to this attempt alone: a retry of a task goes on with the same attempt, a person's Clear
    begins a new one, which has confirmed nothing and sends again.
    """

    def __init__(
        self,
        database: Database,
        labels: Labels,
        quarantine: Upsert,
        settling: Settling,
        clock: Clock,
        ref: RunRef,
        number: int,
    ) -> None:
        self._database = database
        self._labels = labels
        self._quarantine = quarantine
        self._settling = settling
        self._clock = clock
        self.ref = ref
        self.id = number

    def confirmed(self, batch: int) -> Mapping[str, frozenset[str]]:
        """Return the calls of a batch explicitly confirmed as delivered, by hashed key."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for key, call in self._delivered(self.id, batch):
            found[key].add(call)
        # Many keys share a handful of sets.
        shared: dict[frozenset[str], frozenset[str]] = {}
        return {
            key: shared.setdefault(calls, calls)
            for key, calls in zip(found, map(frozenset, found.values()), strict=True)
        }

    def outcomes(self, batch: int) -> list[Marked]:
        """Return what is recorded of a batch, in key order."""
        return sorted(recorded(self._database, self._labels, self.id, batch), key=attrgetter("key", "call", "place"))

    def mark(self, batch: int, results: Sequence[Marked]) -> None:
        """Record what became of calls of a batch, all or nothing; safe to repeat, and from several workers at once.

        A delivery once recorded stays recorded, whatever is marked later in the same attempt; its fingerprint is
        forgotten when a call with another one was not confirmed after it. `invalid` and `rejected` calls go into
        quarantine; a delivery or suppression takes the call, and with a refusal of theirs our own of the whole row, out
        of it. Row states follow by `settle`.
        Raises LedgerUnavailable when it cannot be recorded: then nothing more may be sent.
        """
        self.mark_alike(batch, grouped(results))

    def mark_alike(self, batch: int, groups: Sequence[Marks]) -> None:
        """Record calls as `mark` does, already grouped by result, in their order."""
        if not groups:
            return
        groups = cleaned(groups)
        mark = Mark(
            attempt_id=self.id,
            sync=self.ref.sync,
            batch=batch,
            at=int(self._clock() * MICROSECONDS),
            groups=groups,
            labels=self._labels.numbers({word for group in groups for word in (group.result.call, group.result.code)}),
        )
        self._database.write("record outcomes", lambda connection: mark.write(connection, self._quarantine))

    def is_overtaken(self, since: int) -> bool:
        """Whether another run of the sync began after the attempt of this run with the id `since`, or may have.

        An attempt that was purged, or is not in a ledger restored from a backup, tells nothing.
        """
        own = _of_run(self.ref)
        is_there = select(func.count()).where(RUNS.c.id == since, *own)
        later = select(func.count()).where(RUNS.c.sync == self.ref.sync, RUNS.c.id > since, not_(and_(*own)))
        [(found,)], [(count,)] = self._read(is_there), self._read(later)
        return not found or bool(count)

    def note_mapping(self, mapping: str) -> None:
        """Remember the mapping, as text, that the attempt renders its rows with."""
        sync = self._labels.number(self.ref.sync)
        digest = hashlib.blake2b(mapping.encode(), digest_size=16).hexdigest()
        place = {"sync": sync, "digest": digest}
        latest = update(MAPPINGS).where(
            MAPPINGS.c.sync == sync, MAPPINGS.c.digest == digest, MAPPINGS.c.attempt_id < self.id
        )

        def write(connection: Connection) -> None:
            insert_new(connection, MAPPINGS, [{**place, "mapping": mapping, "attempt_id": self.id}])
            connection.execute(latest.values(attempt_id=self.id))

        self._database.write("remember a mapping", write)

    def open(self, batch: int) -> None:
        """Note that calls of a batch are about to be sent, until `close`; safe to repeat.

        A batch that stays open ended without telling what it sent: its worker was killed, or the ledger was away.
        """
        opened = {"sync": self._labels.number(self.ref.sync), "attempt_id": self.id, "batch": batch}
        row = {**opened, "opened": int(self._clock() * MICROSECONDS)}

        def write(connection: Connection) -> None:
            insert_new(connection, OPEN_BATCHES, [row])
            connection.execute(update(OPEN_BATCHES).where(*self._opened(batch)).values(epoch=None))

        self._database.write("open a batch", write)

    def close(self, batch: int, *, settle: bool = True) -> None:
        """Note that nothing of a batch is under way any more, and `settle` it, now or when somebody needs that."""
        if settle:
            self.settle(batch)
            statement: Delete | Update = delete(OPEN_BATCHES).where(*self._opened(batch))
        else:
            newest = select(func.max(RUNS.c.id)).scalar_subquery()
            statement = update(OPEN_BATCHES).where(*self._opened(batch)).values(epoch=newest)
        self._database.write("close a batch", lambda connection: connection.execute(statement).rowcount)

    def is_open(self, batch: int) -> bool:
        """Whether a batch was opened, and neither closed nor abandoned."""
        query = select(func.count()).where(*self._opened(batch), OPEN_BATCHES.c.epoch.is_(None))
        [(count,)] = self._read(query)
        return bool(count)

    def _opened(self, batch: int) -> tuple[ColumnElement[bool], ...]:
        return opened_batch(self._labels.number(self.ref.sync), self.id, batch)

    def comparison(self) -> Comparison:
        """Return what is known to be at the platform, for this attempt to leave alone.

        A person's Clear means to send again: what was delivered since the run first began counts as not known then.
        """
        [(first,)] = self._read(select(func.min(RUNS.c.id)).where(*self._earlier()))
        self._settling.settle_closed(self._labels.number(self.ref.sync))
        return Comparison(self._database, self._labels, self.ref.sync, attempt=self.id, first=first)

    def settle(self, batch: int) -> None:
        """Bring the row states up to date with what is recorded of a batch; safe to repeat, and late.

        Takes many short transactions: after LedgerUnavailable a part may be done, and `settle` does the rest.
        """
        self._settling(self._labels.number(self.ref.sync), self.id, batch)

    def resent(self, batch: int) -> int:
        """Return how many calls of a batch this attempt delivered that an earlier attempt had delivered already."""
        earlier = [attempt for (attempt,) in self._read(select(RUNS.c.id).where(*self._earlier()))]
        before = {call for attempt in earlier for call in self._delivered(attempt, batch)}
        return sum(call in before for call in self._delivered(self.id, batch)) if before else 0

    def _delivered(self, attempt: int, batch: int) -> Iterator[tuple[str, str]]:
        for mark in recorded(self._database, self._labels, attempt, batch):
            if mark.outcome is Outcome.DELIVERED:
                yield mark.key, mark.call

    def finish(self, rows_read: int, outcomes: Mapping[Outcome, int]) -> None:
        """Record the end of the attempt and its totals in rows; the last call counts."""
        values: dict[str, int] = {outcome.value: outcomes.get(outcome, 0) for outcome in OUTCOME_NUMBERS}
        values |= {"rows_read": rows_read, "finished": int(self._clock() * MICROSECONDS)}
        statement = update(RUNS).where(RUNS.c.id == self.id).values(values)
        self._database.write("record the totals of the run", lambda connection: connection.execute(statement).rowcount)

    def _earlier(self) -> tuple[ColumnElement[bool], ...]:
        """Choose the attempts of the run before this one."""
        return (*_of_run(self.ref), RUNS.c.attempt < self.ref.attempt)

    def _read(self, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
        return self._database.fetch("be asked about a batch", query)


def attempt_number(connection: Connection, ref: RunRef, now: int) -> int:
    """Return the number of an attempt, recorded now where it is new.

    Raises ConfigurationError when it is recorded for another day or window.
    """
    query = select(RUNS.c.id, RUNS.c.run_day, RUNS.c.window_days).where(*_of_run(ref), RUNS.c.attempt == ref.attempt)
    found = connection.execute(query).one_or_none()
    if found is None:
        facts = {"dag_id": ref.dag_id, "run_id": ref.run_id, "sync": ref.sync, "attempt": ref.attempt}
        window = {"run_day": ref.day, "window_days": ref.window_days}
        insert_new(connection, RUNS, [{**facts, **window, "started": now}])
        found = connection.execute(query).one()
    number, day, window_days = found
    if (day, window_days) != (ref.day, ref.window_days):
        raise ConfigurationError(
            f"attempt {ref.attempt} of this run is recorded for {day} and {window_days} days of rows, "
            f"not {ref.day} and {ref.window_days}; clear the run to send others"
        )
    return int(number)


def _of_run(ref: RunRef) -> tuple[ColumnElement[bool], ...]:
    """Choose the attempts of a run, whatever their number."""
    return (RUNS.c.dag_id == ref.dag_id, RUNS.c.run_id == ref.run_id, RUNS.c.sync == ref.sync)
