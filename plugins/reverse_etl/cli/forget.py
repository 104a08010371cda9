"""`reverse-etl forget`: a privacy action for many people, at every platform and here."""

from __future__ import annotations

import getpass
import uuid
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

from reverse_etl.cli.purge import given
from reverse_etl.cli.quarantine import known_syncs
from reverse_etl.cli.screen import Screen
from reverse_etl.delivery.privacy import PersonId
from reverse_etl.errors import ConfigurationError
from reverse_etl.operators.forget import Forgotten, connections_of, forget_people, people_of_query

NOT_ALL_DONE = 1


def forget(options: Namespace, screen: Screen) -> int:
    """Carry the action out; print counts only."""
    people = _people(options)
    if not people:
        screen.say("The query names nobody.")
        return 0
    syncs = known_syncs(options)
    connections = connections_of(syncs, options.action, options.conn)
    if options.dry_run:
        screen.table(("connection", "people"), [(conn_id, len(people)) for conn_id in connections])
        return 0
    whom = "1 person" if len(people) == 1 else f"{len(people)} people"
    question = f"{options.action.capitalize()} {whom} at {', '.join(connections)}?"
    if not options.yes and not screen.confirm(question):
        screen.say("Nothing was done.")
        return NOT_ALL_DONE
    job = options.job or f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}-{uuid.uuid4().hex[:8]}"
    screen.info(f"This is job {job}; if it does not end well, the same command with --job {job} sends what is left.")
    done = forget_people(people, options.action, connections, syncs, job=job, asked_by=options.asked_by or user())
    _show(done, screen)
    return 0 if done.is_done else NOT_ALL_DONE


def _show(done: Forgotten, screen: Screen) -> None:
    rows = [
        (conn_id, outcome, count)
        for conn_id, counts in done.counts().items()
        for outcome, count in counts.items()
        if outcome != "read"
    ]
    screen.table(("connection", "outcome", "people"), rows)
    for conn_id, result in done.results.items():
        for (outcome, code), count in result.reasons.items():
            screen.say(f"{conn_id}: {count} {outcome} for {code}")
        if result.stopped is not None:
            screen.complain(f"{conn_id}: {result.stopped}")
    if done.purged is not None:
        known, files = done.purged.rows_known, done.purged.files
        screen.say(
            f"{known} {'row about them was' if known == 1 else 'rows about them were'} known here; "
            f"{files} {'file' if files == 1 else 'files'} written anew."
        )


def _people(options: Namespace) -> list[PersonId]:
    if bool(options.query) == bool(options.email or options.user_id):
        raise ConfigurationError("give either --query, or --email or --user-id")
    if not options.query:
        emails, user_ids = given(options)
        return [PersonId(email=email) for email in emails] + [PersonId(user_id=user_id) for user_id in user_ids]
    try:
        sql = Path(options.query).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{options.query} cannot be read ({error.strerror})") from None
    return people_of_query(sql, options.source_conn)


def user() -> str:
    """Return who runs the command, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
