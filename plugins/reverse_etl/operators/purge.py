"""Forgetting: what is old, or everything about a person, in the ledger, the staged rows and the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath

from reverse_etl.errors import ConfigurationError, NoLedger, StagingError
from reverse_etl.operators.base import configured_folder, hash_key
from reverse_etl.operators.ledger import open_ledger
from reverse_etl.operators.mirror import MEMBERS
from reverse_etl.sync import REMOVAL

if TYPE_CHECKING:
    from reverse_etl.ledger.records import Purged
    from reverse_etl.operators.syncs import Syncs
    from reverse_etl.staging.people import Person, RowsAbout
    from reverse_etl.sync import Sync

LEFT_BEHIND = timedelta(days=1)
"""Age from which a file nobody finished writing is taken for that of a killed task."""


@dataclass(frozen=True, slots=True)
class PurgedOld:
    """What was removed for its age: rows of the ledger, and staging folders of whole runs."""

    ledger: Purged
    run_folders: int


@dataclass(slots=True)
class PurgedPerson:
    """What was, or would be, removed about a person, in rows.

    `unknown_syncs` had staged rows or exports, but no DAG has them.
    """

    rows_known: int = 0
    staged_rows: int = 0
    exported_rows: int = 0
    results: int = 0
    files: int = 0
    unfinished_files: int = 0
    unknown_syncs: set[str] = field(default_factory=set)
    ledger: Purged | None = None


def purge_old(older_than: timedelta, states_older_than: timedelta | None = None) -> PurgedOld:
    """Remove runs begun longer ago from the ledger, and their staged rows.

    A run's staging folder goes when every file in it is older. Results in the output folder stay: they are the user's.
    `states_older_than` also removes what was last delivered; a row without a state counts as never delivered. Raises
    ConfigurationError for an age below one day, LedgerUnavailable and StagingError.
    """
    for name, age in (("older than", older_than), ("states older than", states_older_than)):
        if age is not None and age < timedelta(days=1):
            raise ConfigurationError(f"{name} is {age.days} days, expected 1 or more")
    with open_ledger() as ledger:
        purged = ledger.purge(older_than, states_older_than=states_older_than)
    limit = datetime.now(UTC) - older_than
    staging = configured_folder("staging")
    try:
        old = [folder for folder, files in _run_folders(staging).items() if _all_older(staging, files, limit)]
        for folder in old:
            staging.fs.rm((staging / folder).path, recursive=True)
    except OSError as error:
        raise StagingError(
            f"old folders cannot be removed from {staging} ({error.strerror or type(error).__name__}); "
            "check who may write there, then purge again"
        ) from None
    return PurgedOld(purged, len(old))


def known_keys(keys: Iterable[tuple[str, Sequence[str]]], syncs: Syncs) -> dict[str, frozenset[str]]:
    """Return the hashed keys by sync of rows given as (sync, key values).

    Raises ConfigurationError for an unknown sync and for more or fewer values than its key has columns.
    """
    found: dict[str, set[str]] = {}
    hasher = hash_key()
    for name, values in keys:
        sync = syncs.one(name)
        if len(values) != len(sync.key):
            raise ConfigurationError(
                f"{len(values)} key values were given for the sync {name}, expected {len(sync.key)}: "
                f"{', '.join(sync.key)}"
            )
        found.setdefault(name, set()).add(hasher(values))
    return {name: frozenset(hashes) for name, hashes in found.items()}


def purge_person(
    syncs: Syncs,
    *,
    emails: Iterable[str] = (),
    user_ids: Iterable[str] = (),
    keys: Mapping[str, frozenset[str]] | None = None,
    dry_run: bool = False,
) -> PurgedPerson:
    """Remove every row about a person from staged files, exports, results and the ledger; `dry_run` only counts them.

    Rows are found by e-mail or user id in the columns the sync's destination takes for them, and by hashed key (`keys`,
    by sync). Rows whose files are gone are found where the identifier is the whole key. The files that name the person
    go last: after a failure the same command finds everything again. Raises StagingError and LedgerUnavailable.
    """
    from reverse_etl.staging.people import Person, same_email

    emails, user_ids = frozenset(emails), frozenset(user_ids)
    person = Person(frozenset(map(same_email, emails)), user_ids, keys or {})
    files = _Files(syncs, person)
    hashes = files.find()
    purged = PurgedPerson(len(frozenset().union(*hashes.values())), unknown_syncs=files.unknown)
    for name, possible in _keys_that_are(syncs, emails, user_ids).items():
        hashes[name] = hashes.get(name, frozenset()) | possible
    with suppress(NoLedger), open_ledger(create=False) as ledger:
        recorded = _as_recorded(hashes, syncs, ledger.syncs())
        purged.ledger = ledger.count_person(recorded) if dry_run else ledger.purge_person(recorded)
    if dry_run:
        files.count(hashes, purged)
    else:
        files.drop(hashes, purged)
    return purged


def _as_recorded(
    hashes: Mapping[str, frozenset[str]], syncs: Syncs, recorded: Iterable[str]
) -> dict[str, frozenset[str]]:
    """Return hashed keys by the names the ledger has for syncs; a name no DAG has may be a former one of any of them.

    The key of one sync may be that of somebody else in another.
    """
    anything = frozenset().union(*hashes.values())
    return {
        name: hashes.get(sync, frozenset()) if sync in syncs.found else anything
        for name, sync in ((name, name.removesuffix(REMOVAL)) for name in recorded)
    }


def _keys_that_are(syncs: Syncs, emails: Iterable[str], user_ids: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the hashed keys the identifiers would have by sync, where the sync's key is the e-mail or the user id.

    An e-mail is taken as it is given and in lower case: a row with another spelling has another hash.
    """
    from reverse_etl.staging.people import same_email

    spellings = {form for email in emails for form in (email.strip(), email.strip().lower(), same_email(email))}
    hasher = hash_key()
    found: dict[str, set[str]] = {}
    for name, group in syncs.found.items():
        for sync in group:
            for column, values in (("email", spellings), ("user_id", user_ids)):
                if sync.key == (getattr(sync.destination, column, None),):
                    found.setdefault(name, set()).update(hasher((value,)) for value in values)
    return {name: frozenset(hashes) for name, hashes in found.items()}


class _Files:
    """The files that may hold rows about a person, by kind, each with the name of its sync."""

    def __init__(self, syncs: Syncs, person: Person) -> None:
        self._syncs = syncs
        self._person = person
        self._staging, self._output = configured_folder("staging"), configured_folder("output")
        self._batches: list[tuple[ObjectStoragePath, str]] = []
        self._exports: list[tuple[ObjectStoragePath, str]] = []
        self._results: list[tuple[ObjectStoragePath, str]] = []
        self._unfinished: list[ObjectStoragePath] = []
        self._sort()
        self.unknown = {name for _, name in self._batches + self._exports if name not in syncs.found}

    def _sort(self) -> None:
        for relative in _relative_files(self._staging):
            if len(relative.parts) > 3:
                self._put(self._staging / str(relative), relative.name, relative.parts[2])
        for relative in _relative_files(self._output):
            if len(relative.parts) == 2:
                self._put(self._output / str(relative), relative.name, relative.parts[0])

    def _put(self, path: ObjectStoragePath, name: str, sync: str) -> None:
        kinds = (
            ("batch-*.parquet", self._batches),
            ("query_results_*.csv", self._exports),
            ("results*.parquet", self._results),
            ("no_consent-*.parquet", self._results),
            ("integration_results_*", self._results),
        )
        if fnmatch(name, ".*.partial"):
            self._unfinished.append(path)
        for pattern, files in kinds:
            if fnmatch(name, pattern):
                files.append((path, sync))

    def find(self) -> dict[str, frozenset[str]]:
        """Return the hashed keys of the person's rows by sync, keeping to the files that have any.

        A row with a key that is the person's anywhere is theirs everywhere: their e-mail may have been another then.
        """
        hashes = {name: set(keys) for name, keys in self._person.keys.items()}
        for files, rows_in in self._searched():
            for path, sync in files:
                for about in self._about(sync):
                    hashes.setdefault(sync, set()).update(*rows_in(path, about))
        found = {name: frozenset(keys) for name, keys in hashes.items()}
        self._person = replace(self._person, keys=found)
        for files, rows_in in self._searched():
            files[:] = [
                (path, sync) for path, sync in files if any(rows_in(path, about) for about in self._about(sync))
            ]
        return found

    def _searched(self) -> list[tuple[list[tuple[ObjectStoragePath, str]], Callable[..., list[frozenset[str]]]]]:
        from reverse_etl.staging.forgetting import rows_in_batch, rows_in_csv

        return [(self._batches, rows_in_batch), (self._exports, rows_in_csv)]

    def count(self, hashes: Mapping[str, frozenset[str]], purged: PurgedPerson) -> None:
        """Count what `drop` would remove."""
        from reverse_etl.staging.forgetting import rows_in_batch, rows_in_csv

        for path, sync in self._results:
            found = _count_results(path, hashes.get(sync, frozenset()))
            purged.results += found
            purged.files += bool(found)
        purged.exported_rows = self._count_rows(self._exports, rows_in_csv)
        purged.staged_rows = self._count_rows(self._batches, rows_in_batch)
        purged.files += len(self._exports) + len(self._batches)
        purged.unfinished_files = len(self._old_unfinished())

    def _count_rows(
        self, files: Iterable[tuple[ObjectStoragePath, str]], rows_in: Callable[..., list[frozenset[str]]]
    ) -> int:
        return sum(len(rows_in(path, about)) for path, sync in files for about in self._about(sync))

    def drop(self, hashes: Mapping[str, frozenset[str]], purged: PurgedPerson) -> None:
        """Write the files that hold the person anew, the results first."""
        from reverse_etl.staging.forgetting import drop_from_batch, drop_from_csv

        for path, sync in self._results:
            removed = _drop_results(path, hashes.get(sync, frozenset()))
            purged.results += removed
            purged.files += bool(removed)
        for path, sync in self._exports:
            purged.exported_rows += sum(drop_from_csv(path, about) for about in self._about(sync))
            purged.files += 1
        for path, sync in self._batches:
            purged.staged_rows += sum(drop_from_batch(path, about) for about in self._about(sync))
            purged.files += 1
        purged.unfinished_files = self._drop_unfinished()

    def _drop_unfinished(self) -> int:
        old = self._old_unfinished()
        for path in old:
            path.fs.rm_file(path.path)
        return len(old)

    def _old_unfinished(self) -> list[ObjectStoragePath]:
        limit = datetime.now(UTC) - LEFT_BEHIND
        return [path for path in self._unfinished if path.fs.exists(path.path) and _modified(path) < limit]

    def _about(self, name: str) -> list[RowsAbout]:
        """Return what finds the person's rows of a sync: several when DAGs disagree about it."""
        from reverse_etl.staging.people import RowsAbout

        syncs: Sequence[Sync] = self._syncs.found.get(name, [])
        hasher = hash_key()
        if not syncs:
            return [RowsAbout(self._person, hasher, sync=name)]
        return [
            RowsAbout(
                self._person,
                hasher,
                sync=name,
                key=sync.key,
                email=getattr(sync.destination, "email", None),
                user_id=getattr(sync.destination, "user_id", None),
            )
            for sync in syncs
        ]


def _count_results(path: ObjectStoragePath, hashes: frozenset[str]) -> int:
    from reverse_etl.staging.forgetting import records_in_json, rows_in_results

    if not hashes:
        return 0
    return records_in_json(path, hashes) if path.suffix == ".json" else rows_in_results(path, hashes)


def _drop_results(path: ObjectStoragePath, hashes: frozenset[str]) -> int:
    from reverse_etl.staging.forgetting import drop_from_json, drop_from_results

    if not _count_results(path, hashes):
        return 0
    return drop_from_json(path, hashes) if path.suffix == ".json" else drop_from_results(path, hashes)


def _relative_files(folder: ObjectStoragePath) -> Iterator[PurePosixPath]:
    root = folder.path.rstrip("/")
    for path in sorted(folder.fs.find(root)):
        yield PurePosixPath(path.removeprefix(root).lstrip("/"))


def _run_folders(staging: ObjectStoragePath) -> dict[str, list[PurePosixPath]]:
    """Return the files of every run, by the run's folder."""
    folders: dict[str, list[PurePosixPath]] = {}
    for path in _relative_files(staging):
        # Who is behind rows delivered long ago is needed to remove them one day.
        if len(path.parts) > 2 and path.parts[0] != MEMBERS:
            folders.setdefault("/".join(path.parts[:2]), []).append(path)
    return folders


def _all_older(staging: ObjectStoragePath, files: Iterable[PurePosixPath], limit: datetime) -> bool:
    return all(_modified(staging / str(path)) < limit for path in files)


def _modified(path: ObjectStoragePath) -> datetime:
    moment: datetime = path.fs.modified(path.path)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
