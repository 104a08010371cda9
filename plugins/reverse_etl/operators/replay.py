"""Replay of the quarantine: refused rows, read again as they are now, go out once more. Tasks and the CLI share this.

The ledger knows rows only by their hashed keys. So the query of the sync runs again for each day whose run was refused
something, and of its rows those whose hashed key is in quarantine become batches.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from reverse_etl.errors import ConfigurationError
from reverse_etl.incremental import window_of
from reverse_etl.operators.base import hash_key, run_folder
from reverse_etl.operators.batch import Delivered, Log, deliver_batch
from reverse_etl.operators.consent import withhold
from reverse_etl.operators.ledger import open_ledger, recording
from reverse_etl.operators.mirror import remember
from reverse_etl.operators.source import source_rows

if TYPE_CHECKING:
    from reverse_etl.delivery.outcomes import Totals
    from reverse_etl.ledger.records import RunRef
    from reverse_etl.staging.batches import BatchRef
    from reverse_etl.sync import Sync

LONGEST_RUN_ID = 220
"""Characters of a run id that leave room for the day and the window in the ledger's name for it."""

MOST_BATCHES = 1_000
"""Airflow maps a task over 1,024 items at most."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls of the quarantine to replay: those of a sync, with this reason code, seen there since then."""

    sync: str
    code: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """Whose attempt a replay is; `attempt` is the DAG run's clear number."""

    dag_id: str
    run_id: str
    attempt: int = 0

    def folder(self, sync: str) -> ObjectStoragePath:
        """Return the staging folder of the rows."""
        return run_folder(self.dag_id, self.run_id, sync)

    def ref(self, sync: str, day: date, window_days: int) -> RunRef:
        """Return the attempt in the ledger of what belongs to one day.

        Each day has its own, because a call that is refused again must be found under its day by the next replay.
        """
        from reverse_etl.ledger.records import RunRef

        name = self.run_id
        if len(name) > LONGEST_RUN_ID:
            digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
            name = f"{name[: LONGEST_RUN_ID - len(digest) - 1]}-{digest}"
        return RunRef(self.dag_id, f"{name} {day} {window_days}d", sync, self.attempt, day, window_days)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a replay would take: calls by outcome and reason code, rows by day.

    `days` are the day and window of the runs that refused them, and how many rows; one refused twice is in both.
    `forgotten` rows were refused by runs the ledger no longer knows, so nobody can say which day to read.
    """

    calls: list[tuple[str, str, int]] = field(default_factory=list)
    days: list[tuple[str, int, int]] = field(default_factory=list)
    forgotten: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, for XCom."""
        return {
            "calls": [{"outcome": outcome, "code": code, "calls": calls} for outcome, code, calls in self.calls],
            "days": [{"day": day, "window_days": window, "rows": rows} for day, window, rows in self.days],
            "forgotten": self.forgotten,
        }


@dataclass(frozen=True, slots=True)
class ReplayBatch:
    """A batch of rows of one day."""

    index: int
    path: str
    rows: int
    day: str
    window_days: int

    @property
    def batch(self) -> BatchRef:
        """The reference that delivery takes."""
        from reverse_etl.staging.batches import BatchRef

        return BatchRef(self.index, self.path, self.rows)

    def as_dict(self) -> dict[str, int | str]:
        """Return the fields as JSON values, for XCom."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ReRead:
    """The rows found again, in batches of one day each, the oldest day first; `not_in_source` were not found."""

    batches: list[ReplayBatch]
    not_in_source: int
    forgotten: int

    @property
    def rows(self) -> int:
        """Rows found."""
        return sum(batch.rows for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a replay: `totals` in rows, the calls of the sync in quarantine, and what did not go well."""

    totals: dict[str, int]
    not_in_source: int
    forgotten: int
    in_quarantine: int
    problems: list[str]

    @property
    def is_complete(self) -> bool:
        """Whether every row that was asked for was delivered."""
        sent = self.totals["delivered"] + self.totals["unchanged"]
        return sent == self.totals["read"] and not (self.not_in_source or self.forgotten or self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, for XCom."""
        return asdict(self)


def select(wanted: Wanted) -> Selection:
    """Return what there is to replay; raises LedgerUnavailable."""
    with open_ledger() as ledger:
        counts = ledger.quarantine.counts(wanted.sync, since=wanted.since)
        days = ledger.quarantine.by_day(wanted.sync, code=wanted.code, since=wanted.since)
    calls = [
        (outcome.value, code, number) for (_, outcome, code), number in counts.items() if wanted.code in (None, code)
    ]
    known, forgotten = _known_days(days)
    return Selection(calls, [(day.isoformat(), window, len(keys)) for (day, window), keys in known], len(forgotten))


def reread(sync: Sync, wanted: Wanted, folder: ObjectStoragePath, *, batch_rows: int) -> ReRead:
    """Run the query again for every day with refused rows and write those rows as batches into `folder`.

    A row that several days were refused is taken from the latest that still gives it. Raises SourceError, StagingError,
    LedgerUnavailable, KeyRefused when a key names several of a day's rows by now, and ConfigurationError when there
    would be more than 1,000 batches.
    """
    from reverse_etl.staging.batches import write_batches
    from reverse_etl.staging.choosing import ChosenRows
    from reverse_etl.staging.keys import KeyWatch

    with open_ledger() as ledger:
        days = ledger.quarantine.by_day(wanted.sync, code=wanted.code, since=wanted.since)
    known, forgotten = _known_days(days)
    asked = {key for _, keys in known for key in keys}
    found: set[str] = set()
    written: list[tuple[date, int, list[BatchRef]]] = []
    for (day, length), keys in reversed(known):
        left = set(keys) - found
        if not left:
            continue
        window, place = window_of(sync.incremental, day, length), folder / f"{day}-{length}d"
        with source_rows(sync, window) as stream:
            chosen = ChosenRows(stream, sync.key, left, hash_key())
            watch = KeyWatch(stream.columns, sync.key)
            refs = write_batches(chosen, place, batch_rows=batch_rows, max_batches=MOST_BATCHES, watch=watch)
        watch.check(refs, place, hash_key())
        withhold(sync, window, refs, place)
        if sync.mirror is not None:
            remember(sync, refs)
        found |= chosen.found
        written.append((day, length, refs))
    return ReRead(_numbered(reversed(written)), len(asked - found), len(forgotten - asked))


def replay_batch(sync: Sync, replayed: ReplayBatch, run: ReplayRun, log: Log) -> Delivered:
    """Deliver a batch as an ordinary run does; what stops it is returned, not raised."""
    from reverse_etl.mapping_text import to_text

    ref = run.ref(sync.name, date.fromisoformat(replayed.day), replayed.window_days)
    record = recording(ref, replayed.index, mapping=to_text(sync.destination))
    return deliver_batch(sync, replayed.batch, run.folder(sync.name), record, attempt=run.attempt, log=log)


def finish(sync: str, run: ReplayRun, batches: Sequence[tuple[ReplayBatch, Totals]]) -> int:
    """Record the ends of the attempts with their totals; return how many calls of the sync are still in quarantine."""
    days: dict[tuple[str, int], Counter[Any]] = {}
    rows: Counter[tuple[str, int]] = Counter()
    for batch, totals in batches:
        place = (batch.day, batch.window_days)
        days.setdefault(place, Counter()).update(totals.outcomes)
        rows[place] += batch.rows
    with open_ledger() as ledger:
        for (day, window), outcomes in days.items():
            ledger.begin(run.ref(sync, date.fromisoformat(day), window)).finish(rows[day, window], outcomes)
        return sum(ledger.quarantine.counts(sync).values())


def summarise(
    not_in_source: int, forgotten: int, batches: Sequence[tuple[ReplayBatch, Totals]], in_quarantine: int
) -> Summary:
    """Return what became of a replay. A row refused again is no problem: it is in quarantine as before."""
    from reverse_etl.delivery.outcomes import Outcome, Totals, add_up

    read = sum(batch.rows for batch, _ in batches)
    counts = Counter(Totals().as_dict())
    for _, totals in batches:
        counts.update(totals.as_dict())
    problems = []
    if not add_up(read, counts):
        listed = ", ".join(f"{name} {rows}" for name, rows in counts.items() if rows)
        problems.append(f"the totals do not add up: {read} rows were read, but the outcomes are {listed or 'none'}")
    if failed := counts[Outcome.FAILED]:
        problems.append(f"{failed} of {read} rows failed; they are in quarantine as before: replay again")
    return Summary({"read": read, **counts}, not_in_source, forgotten, in_quarantine, problems)


def parse_since(text: str | None) -> datetime | None:
    """Return a day or moment such as 2026-01-13 or 2026-01-13T08:00, in UTC unless it says otherwise."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"since is {text!r}, expected a day such as 2026-01-13") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _known_days(
    days: Mapping[tuple[date | None, int | None], Iterable[str]],
) -> tuple[list[tuple[tuple[date, int], set[str]]], set[str]]:
    """Return the keys by day and window, the oldest first, and those whose run the ledger has forgotten."""
    known: list[tuple[tuple[date, int], set[str]]] = []
    forgotten: set[str] = set()
    for (day, window), keys in days.items():
        if day is None or window is None:
            forgotten |= set(keys)
        else:
            known.append(((day, window), set(keys)))
    return sorted(known, key=lambda entry: entry[0]), forgotten


def _numbered(written: Iterable[tuple[date, int, Sequence[BatchRef]]]) -> list[ReplayBatch]:
    places = [(day, window, ref) for day, window, refs in written for ref in refs]
    if len(places) > MOST_BATCHES:
        raise ConfigurationError(
            f"the rows are {len(places)} batches, at most {MOST_BATCHES} fit into one replay; "
            "give a later since, or a reason, and replay in parts"
        )
    return [
        ReplayBatch(index, ref.path, ref.rows, day.isoformat(), window)
        for index, (day, window, ref) in enumerate(places)
    ]
