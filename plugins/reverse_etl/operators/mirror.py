"""What a mirror sync does about rows that have left the source: who they are, how many, and what the ledger forgets.

The ledger knows rows by their hashed keys only. So the extract task keeps who is behind each row of a mirror sync as
its members, before the first of them is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from reverse_etl.errors import ConfigurationError
from reverse_etl.operators.base import configured_folder, hash_key
from reverse_etl.operators.batch import Log, deliver_batch, results_file
from reverse_etl.operators.ledger import open_ledger, previewing
from reverse_etl.operators.unheard import unheard

if TYPE_CHECKING:
    import pyarrow as pa

    from reverse_etl.ledger.ledger import Ledger
    from reverse_etl.ledger.records import RunRef
    from reverse_etl.staging.batches import BatchRef
    from reverse_etl.staging.members import Members, SortedHashes
    from reverse_etl.sync import Sync

MEMBERS = "mirror=members"
"""The folder of all members beside those of the DAGs, none of which can have such a name."""

REMOVED_FOLDER = "removed"
"""The folder of the rows to be removed, in that of the run."""

LEAVING = "leaving"
"""XCom key of the find task: how many rows have left, and why somebody is to be asked."""

ATTEMPT = "attempt"
"""Among the facts of a mirror sync's run: the attempt that read the source, in the ledger's number."""

PLANNED = "planned"
"""Within it: what a dry run found the removals to be, by batch."""

SAMPLE = 10


@dataclass(frozen=True, slots=True)
class Leaving:
    """Rows the platform may hold and the source has no more.

    Of the `known` rows the platform may hold, `removed` are to be removed; the people of `staying` have another row in
    the source, and those of `unknown` were not kept. `reasons` say why somebody is to be asked first; `sample` are
    hashed keys, and `digest` stands for all of them: an answer about other rows is none about these. `attempt` is the
    attempt that read the source, in the ledger's number; none in a dry run.
    """

    known: int = 0
    removed: int = 0
    unknown: int = 0
    staying: int = 0
    reasons: list[str] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)
    digest: str = ""
    attempt: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, for XCom."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.removed} of {self.known} rows have left the source and are to be removed; "
            f"{self.staying} more have people with another row there, of {self.unknown} more nobody knows who they are"
            + (f"; somebody is asked first, as {'; '.join(self.reasons)}" if self.reasons else "")
        )


def members_of(sync: Sync) -> Members:
    """Return the members of a mirror sync."""
    from reverse_etl.staging.members import Members

    folder = configured_folder("staging") / MEMBERS / "all" / sync.name
    return Members(folder, sync.key, sync.destination.identifiers(), hash_key())


def remember(sync: Sync, batches: Sequence[BatchRef]) -> int:
    """Take the rows of a run into the members of its sync; return how many there are. Raises StagingError."""
    return members_of(sync).add(_paths(batches))


def find_leaving(
    sync: Sync,
    batches: Sequence[BatchRef],
    attempt: int | None,
    folder: ObjectStoragePath,
    *,
    removed_at: datetime,
    batch_rows: int,
    is_latest: bool = True,
) -> tuple[Leaving, list[BatchRef]]:
    """Compare what the platform may hold with all rows of the source, which `batches` are; return who is to go.

    They are written into `folder` as batches of `batch_rows`. Rows that were delivered after the `attempt` that
    read them had begun are left alone: its read may be older than they are. Without one, for a dry run, the rows of
    `batches` count as delivered where their results, beside `folder`, do not say that they are refused, and the members
    stay as they are. They do too unless the run `is_latest`: another one needs members of its own. Raises
    LedgerUnavailable and StagingError.
    """
    from reverse_etl.staging.members import digest_of, first_hexes, from_hex, still_here, write_removals

    if sync.mirror is None:
        raise ConfigurationError(f"sync {sync.name} has no mirror; add mirror=Mirror(...) or leave this task out")
    paths, members = _paths(batches), members_of(sync)
    current = members.hashes_of(paths)
    with open_ledger() as ledger:
        new = [] if attempt is not None else {*_planned(folder.parent, batches), *unheard(sync, ledger)}
        known, left, gone = _left(ledger, sync, attempt, current, from_hex(new))
    found = list(members.of(gone))
    if attempt is not None and is_latest:
        members.keep(current, left)
    staying, leaving = still_here(found, paths, sync.destination.identifiers())
    removed = sum(table.num_rows for table in leaving)
    refs = write_removals(leaving, folder, removed_at, batch_rows=batch_rows)
    found_out = Leaving(
        known=known,
        removed=removed,
        unknown=len(gone) - removed - staying,
        staying=staying,
        reasons=sync.mirror.reasons(read=len(current), known=known, removed=removed),
        sample=first_hexes(leaving, SAMPLE),
        digest=digest_of(leaving),
        attempt=attempt,
    )
    return found_out, refs


def plan_removals(sync: Sync, batches: Sequence[BatchRef], folder: ObjectStoragePath, log: Log) -> list[dict[str, Any]]:
    """Return what removing the rows of batches in `folder` would be; no request leaves. Raises what stopped it."""
    from reverse_etl.delivery.plan import as_removal

    removal = sync.removal()
    plans = []
    for batch in batches:
        done = deliver_batch(removal, batch, folder, previewing(removal, sends_all=True), attempt=0, log=log)
        if done.stopped is not None:
            raise done.stopped
        if done.counts.plan is not None:
            plans.append(as_removal(done.counts.plan))
    return plans


def is_overtaken(ref: RunRef, attempt: int) -> bool:
    """Whether another run of the sync has begun since an attempt of the run read the source; then it knows better."""
    with open_ledger() as ledger:
        return ledger.begin(ref).is_overtaken(attempt)


def doubt_leaving(sync: Sync, batch: BatchRef) -> None:
    """Have the rows of a batch sent when they come back, whatever is heard of their removal.

    A removal may arrive although its worker was killed or its answer lost. It takes away what other rows of a person
    had sent too, which may be removed in another batch. Raises LedgerUnavailable and StagingError.
    """
    from reverse_etl.redaction import key_of

    hasher = hash_key()
    keys = [hasher(key_of(row, sync.key)) for rows in _rows_of_people(sync, batch) for row in rows]
    with open_ledger() as ledger:
        ledger.known_rows(sync.name).doubt(keys)


def _rows_of_people(sync: Sync, batch: BatchRef) -> Iterator[Any]:
    """Yield the rows of a batch, and those of its people in the batches beside it, in portions."""
    from reverse_etl.staging.batches import read_rows
    from reverse_etl.staging.members import rows_of_same_people

    path = ObjectStoragePath(batch.path)
    yield from read_rows(path)
    beside = [other for other in path.parent.glob("batch-*.parquet") if other.name != path.name]
    yield from rows_of_same_people(path, beside, sync.destination.identifiers())


def forget_removed(sync: Sync, removal: RunRef, results: ObjectStoragePath) -> int:
    """Forget what was delivered of the rows that were removed, so that one that comes back is sent; return how many.

    `removal` is the attempt that removed them.
    """
    from reverse_etl.delivery.outcomes import Outcome
    from reverse_etl.delivery.results import read_results

    gone = (Outcome.DELIVERED, Outcome.SUPPRESSED)
    keys = [result.key for result in read_results(results) if result.outcome in gone]
    with open_ledger() as ledger:
        ledger.known_rows(sync.name).forget(keys, before=ledger.begin(removal).id)
    return len(keys)


def _left(
    ledger: Ledger, sync: Sync, attempt: int | None, current: SortedHashes, new: pa.Array[Any]
) -> tuple[int, pa.Array[Any], pa.Array[Any]]:
    """Return how many rows the platform may hold, and the hashed keys of those that are not in `current`.

    Of the latter once all, and once those settled before `attempt` began. A dry run has `new` ones besides, which it
    may hold by then.
    """
    from reverse_etl.staging.members import SortedHashes, from_hex, joined

    known = 0
    left: list[pa.Array[Any]] = []
    settled: list[pa.Array[Any]] = []
    for page in ledger.known_rows(sync.name).pages():
        known += len(page)
        keys = from_hex(key for key, _ in page)
        left.append(current.missing(keys))
        new = SortedHashes(keys).missing(new) if len(new) else new
        settled.append(current.missing(from_hex(key for key, epoch in page if attempt is None or epoch < attempt)))
    left.append(current.missing(new))
    settled.append(left[-1])
    return known + len(new), joined(left), joined(settled)


def _planned(folder: ObjectStoragePath, batches: Sequence[BatchRef]) -> Iterator[str]:
    """Yield the hashed keys of the rows a dry run would send."""
    from reverse_etl.delivery.outcomes import Outcome
    from reverse_etl.staging.batches import read_columns

    for batch in batches:
        results = read_columns(results_file(folder, batch), ["key", "outcome"])
        outcomes = results["outcome"].to_pylist()
        yield from (
            str(key)
            for key, outcome in zip(results["key"].to_pylist(), outcomes, strict=True)
            if outcome == Outcome.PLANNED
        )


def _paths(batches: Sequence[BatchRef]) -> list[ObjectStoragePath]:
    return [ObjectStoragePath(batch.path) for batch in batches]
