"""`reverse-etl purge`: what is old, or everything about a person."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from reverse_etl.cli.quarantine import known_syncs
from reverse_etl.cli.screen import Screen
from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.records import Purged
from reverse_etl.operators.purge import PurgedPerson, known_keys, purge_old, purge_person

FROM_STDIN = "-"
NOTHING_FOUND = (
    "Nothing about them was found. Check the spelling; a row whose files were purged by age is found only by its key, "
    "with --sync and --key-values."
)


def purge(options: Namespace, screen: Screen) -> int:
    """Forget; print counts only."""
    named = options.email or options.user_id or options.sync or options.key_values
    if not options.person:
        if named:
            raise ConfigurationError("--email, --user-id, --sync and --key-values go with --person")
        if options.dry_run:
            raise ConfigurationError("--dry-run goes with --person")
        return _purge_old(options, screen)
    if options.states_older_than:
        raise ConfigurationError("--states-older-than goes with --older-than")
    if not named:
        raise ConfigurationError("--person needs --email, --user-id, or --sync with --key-values")
    return _purge_person(options, screen)


def _purge_old(options: Namespace, screen: Screen) -> int:
    states = options.states_older_than
    purged = purge_old(timedelta(days=options.older_than), timedelta(days=states) if states else None)
    counts = {
        "runs": purged.ledger.runs,
        "outcomes": purged.ledger.outcomes,
        "row states": purged.ledger.row_states,
        "quarantined calls": purged.ledger.quarantine,
        "run folders": purged.run_folders,
    }
    screen.table(("removed", "number"), list(counts.items()))
    return 0


def _purge_person(options: Namespace, screen: Screen) -> int:
    if len(options.sync) != len(options.key_values):
        raise ConfigurationError("every --key-values needs its own --sync before it")
    syncs = known_syncs(options)
    if syncs.unread:
        raise ConfigurationError(
            f"{', '.join(syncs.unread)} could not be imported, so rows of its syncs would be missed; mend it first"
        )
    emails, user_ids = given(options)
    keys = known_keys(zip(options.sync, options.key_values, strict=True), syncs)
    if not options.dry_run and not options.yes:
        screen.check_terminal()
    remove = partial(purge_person, syncs, emails=emails, user_ids=user_ids, keys=keys)
    if options.dry_run or not options.yes:
        found = remove(dry_run=True)
        screen.table(("found", "number"), _counts(found))
        screen.say(f"Hashed keys known of the person: {found.rows_known}; files that hold them: {found.files}.")
        _say_unknown_syncs(found, screen)
        if _is_nothing(found):
            screen.say(NOTHING_FOUND)
            return 0
        if options.dry_run:
            screen.say("Dry run: nothing was removed.")
            return 0
        if not screen.confirm("Remove all of it, for good?"):
            screen.say("Nothing was removed.")
            return 0
    purged = remove()
    screen.table(("removed", "number"), _counts(purged))
    screen.say(f"Hashed keys known of the person: {purged.rows_known}; files written anew: {purged.files}.")
    if options.yes:
        _say_unknown_syncs(purged, screen)
        if _is_nothing(purged):
            screen.say(NOTHING_FOUND)
    return 0


def _is_nothing(purged: PurgedPerson) -> bool:
    return not (purged.rows_known or purged.files or any(number for _, number in _counts(purged)))


def _counts(purged: PurgedPerson) -> list[tuple[str, int]]:
    ledger = purged.ledger or Purged()
    return [
        ("staged rows", purged.staged_rows),
        ("exported rows", purged.exported_rows),
        ("row results", purged.results),
        ("outcomes", ledger.outcomes),
        ("row states", ledger.row_states),
        ("quarantined calls", ledger.quarantine),
        ("unfinished files", purged.unfinished_files),
    ]


def _say_unknown_syncs(purged: PurgedPerson, screen: Screen) -> None:
    if purged.unknown_syncs:
        screen.say(
            f"No DAG has the syncs {', '.join(sorted(purged.unknown_syncs))}: their files were searched in every "
            "column, but the hashed keys of their rows are not known."
        )


def given(options: Namespace) -> tuple[list[str], list[str]]:
    """Return e-mails and user ids, those of `-` from stdin, one a line."""
    if FROM_STDIN in options.email and FROM_STDIN in options.user_id:
        raise ConfigurationError("only one of --email and --user-id may be -, which reads from stdin")
    return _expanded(options.email), _expanded(options.user_id)


def _expanded(given: Sequence[str]) -> list[str]:
    values = [value.strip() for value in given if value != FROM_STDIN]
    if FROM_STDIN in given:
        lines = [line.strip() for line in sys.stdin.read().splitlines()]
        values += [line for line in lines if line] or [""]
    if "" in values:
        raise ConfigurationError("an identifier is empty")
    return values
