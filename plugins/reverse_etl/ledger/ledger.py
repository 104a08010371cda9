"""The ledger, opened: the one way into its database."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from types import TracebackType

from sqlalchemy import func, select

from reverse_etl.ledger.attempts import Attempt, attempt_number
from reverse_etl.ledger.budgets import Budgets
from reverse_etl.ledger.chunks import chunks
from reverse_etl.ledger.comparing import Comparison
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.known import KnownRows
from reverse_etl.ledger.labels import Labels
from reverse_etl.ledger.marking import into_quarantine
from reverse_etl.ledger.migrating import migrate
from reverse_etl.ledger.privacy import AuditRecord, PrivacyActions, PrivacyJob, audit_records, blocked_people
from reverse_etl.ledger.quarantine import Quarantine
from reverse_etl.ledger.records import Clock, Purged, RowState, RunRef, fingerprint_of
from reverse_etl.ledger.retention import count_keys, purge_keys, purge_old, sync_names
from reverse_etl.ledger.schema import MAPPINGS, NOT_CLOSED, OPEN_BATCHES, OUTCOME_OF, ROW_STATES, RUNS
from reverse_etl.ledger.settling import Settling
from reverse_etl.ledger.suspects import MAYBE_SENT, Suspects
from reverse_etl.ledger.times import MICROSECONDS, moment
from reverse_etl.ledger.turns import Turns
from reverse_etl.ledger.watermarks import Watermarks

PATIENCE_SECONDS = 30.0
"""How long to wait for a lock. Every transaction of the ledger takes milliseconds, a purge of a batch a second."""


class Ledger:
    """The database that remembers runs, outcomes, row states, quarantine and rate budgets.

    with Ledger.open("sqlite:////data/ledger.db") as ledger:
        attempt = ledger.begin(RunRef(dag_id, run_id, sync, clear_number, day))
        confirmed = attempt.confirmed(batch)
        attempt.mark(batch, results)
        attempt.settle(batch)

    May be used by several threads; every process opens its own. Methods block: call them from a thread where an event
    loop must go on. All of them raise LedgerUnavailable when the database does not answer, is locked or full, and
    ConfigurationError when that stays so until somebody acts; no message holds a parameter or a password.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._labels = Labels(database)
        self._quarantine_upsert = into_quarantine(database.dialect)
        self._settling = Settling(database)
        self.quarantine = Quarantine(database)
        self.budgets = Budgets(database)
        self.watermarks = Watermarks(database, clock)
        self.turns = Turns(database)

    @classmethod
    def open(
        cls, url: str, *, create: bool = True, patience: float = PATIENCE_SECONDS, clock: Clock = time.time
    ) -> Ledger:
        """Connect, creating or upgrading the tables (and for SQLite the folder and the file) where that is needed.

        `url` is sqlite:////absolute/path.db, mysql://... (also MariaDB) or postgresql://...; `patience` are the seconds
        to wait for a lock. Raises ConfigurationError when the URL is wrong or the tables are newer than this code, and
        NoLedger without `create` when there is none yet.
        """
        database = Database(url, create=create, patience=patience)
        try:
            migrate(database, create=create, patience=patience)
        except BaseException:
            database.close()
            raise
        return cls(database, clock)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, ref: RunRef) -> Attempt:
        """Return the attempt `ref` names, recorded now when it is new; every worker of a run gets the same one."""
        now = int(self._clock() * MICROSECONDS)
        number = self._database.write("record a run", lambda connection: attempt_number(connection, ref, now))
        return self._attempt(ref, number)

    def _attempt(self, ref: RunRef, number: int) -> Attempt:
        return Attempt(self._database, self._labels, self._quarantine_upsert, self._settling, self._clock, ref, number)

    def privacy_job(self, job: PrivacyJob) -> PrivacyActions:
        """Return the audit record of one job for people's privacy, to be asked and written."""
        return PrivacyActions(self._database, self.budgets, self._clock, job)

    def audit(self, person: str) -> list[AuditRecord]:
        """Return the privacy actions recorded for a hashed person, the newest first."""
        return audit_records(self._database, person)

    def blocked(self, account: str) -> frozenset[str]:
        """Return the hashed people whom an account was asked to forget or suppress, confirmed and not lifted since."""
        return blocked_people(self._database, account)

    def states(self, sync: str, keys: Sequence[str]) -> Mapping[tuple[str, str], RowState]:
        """Return what was last delivered, by hashed key and call; calls never delivered are absent.

        Marks count from the `settle` or `close` of their batch on.
        """
        self._settling.settle_closed(self._labels.find(sync))
        columns = [ROW_STATES.c[name] for name in ("row_key", "call_kind", "fingerprint", "delivered_at", "outcome")]
        query = select(*columns).where(
            ROW_STATES.c.sync == self._labels.number(sync), ROW_STATES.c.delivered_at.is_not(None)
        )
        found: dict[tuple[str, str], RowState] = {}
        for chunk in chunks(keys):
            rows = self._database.fetch("be asked about rows", query.where(ROW_STATES.c.row_key.in_(chunk)))
            names = self._labels.names({row[1] for row in rows})
            for key, call, fingerprint, delivered_at, outcome in rows:
                found[key, names[call]] = RowState(
                    fingerprint_of(fingerprint), moment(delivered_at), OUTCOME_OF[outcome]
                )
        return found

    def comparison(self, sync: str) -> Comparison:
        """Return what a run begun now would know to be at the platform; nothing new is recorded."""
        self._settling.settle_closed(self._labels.find(sync))
        return Comparison(self._database, self._labels, sync)

    def mappings(self, sync: str) -> list[str]:
        """Return the mappings the sync has had, as text, the latest first."""
        query = select(MAPPINGS.c.mapping).where(MAPPINGS.c.sync == self._labels.find(sync))
        rows = self._database.fetch("be asked about mappings", query.order_by(MAPPINGS.c.attempt_id.desc()))
        return [mapping for (mapping,) in rows]

    def open_batches(self, sync: str) -> int:
        """Return how many batches are being sent, or ended without telling what they had sent."""
        number = select(func.count()).where(OPEN_BATCHES.c.sync == self._labels.find(sync), NOT_CLOSED)
        [(count,)] = self._database.fetch("be asked about open batches", number)
        return int(count)

    def unheard(self, sync: str) -> list[tuple[Attempt, int]]:
        """Return batches being sent, or whose worker died and that nobody has abandoned, with their attempts."""
        names = ("dag_id", "run_id", "sync", "attempt", "run_day", "window_days")
        query = (
            select(RUNS.c.id, OPEN_BATCHES.c.batch, *(RUNS.c[name] for name in names))
            .join_from(OPEN_BATCHES, RUNS, OPEN_BATCHES.c.attempt_id == RUNS.c.id)
            .where(OPEN_BATCHES.c.sync == self._labels.find(sync), OPEN_BATCHES.c.epoch.is_(None))
            .order_by(RUNS.c.id, OPEN_BATCHES.c.batch)
        )
        rows = self._database.fetch("be asked about open batches", query)
        return [(self._attempt(RunRef(*facts), number), batch) for number, batch, *facts in rows]

    def suspects(self, sync: str) -> Suspects:
        """Return the rows of a sync that may be at the platform unconfirmed, to be added to."""
        number, maybe_sent = self._labels.number(sync), self._labels.number(MAYBE_SENT)
        self._settling.settle_closed(number)
        return Suspects(self._database, number, maybe_sent, int(self._clock() * MICROSECONDS))

    def known_rows(self, sync: str) -> KnownRows:
        """Return the rows of a sync the platform may hold; those of a batch count from its `settle` or `close` on."""
        number = self._labels.number(sync)
        self._settling.settle_closed(number)
        return KnownRows(self._database, self._clock, number)

    def purge(self, older_than: timedelta, *, states_older_than: timedelta | None = None) -> Purged:
        """Remove runs begun longer ago with their outcomes, and calls last quarantined longer ago.

        Row states stay unless `states_older_than` is given: a row without one counts as never delivered. What rows that
        were forgotten longer ago have left goes too.
        """
        self._settling.settle_closed()
        return purge_old(self._database, self._clock, older_than, states_older_than)

    def syncs(self) -> list[str]:
        """Return the names of all syncs the ledger has a run or a call in quarantine of."""
        return sync_names(self._database)

    def count_person(self, keys: Mapping[str, Collection[str]]) -> Purged:
        """Return how much `purge_person` would remove."""
        return self._of_person(count_keys, keys)

    def purge_person(self, keys: Mapping[str, Collection[str]]) -> Purged:
        """Remove everything about rows, by their sync's name and hashed keys.

        Run totals, which name nobody, stay, and so does the audit record of privacy actions, which proves the removal.
        """
        return self._of_person(purge_keys, keys)

    def _of_person(
        self, work: Callable[[Database, str, int, Sequence[str]], Purged], keys: Mapping[str, Collection[str]]
    ) -> Purged:
        of_syncs = (
            work(self._database, sync, self._labels.find(sync), sorted(hashes))
            for sync, hashes in keys.items()
            if hashes
        )
        return sum(of_syncs, Purged())
