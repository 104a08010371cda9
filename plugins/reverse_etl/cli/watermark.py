"""`reverse-etl watermark`: how far an incremental sync has come."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime

from reverse_etl.cli.forget import user
from reverse_etl.cli.quarantine import known_syncs
from reverse_etl.cli.screen import Screen
from reverse_etl.errors import ConfigurationError
from reverse_etl.incremental import Incremental, Position
from reverse_etl.operators.ledger import open_ledger
from reverse_etl.operators.reading import FURTHEST_AHEAD

NOT_DONE = 1


def show(options: Namespace, screen: Screen) -> int:
    """Print the watermark of a sync."""
    incremental = _incremental(options)
    with open_ledger() as ledger:
        found = ledger.watermarks.get(options.sync)
    position = found.position if found else None
    values = {
        "sync": options.sync,
        "column": found.column if found else incremental.column,
        "time": position and _moment(position.time),
        "key column": found.key if found else incremental.key,
        "key": position and position.key,
        "moved": _moment(found.moved) if found and found.moved else None,
        "moved by": found.moved_by if found else None,
    }
    if options.json:
        screen.json({name.replace(" ", "_"): value for name, value in values.items()})
    elif position is None:
        screen.say(f"{options.sync} has no watermark: its next run reads from the beginning.")
    else:
        screen.table(list(values), [list(values.values())])
    return 0


def put(options: Namespace, screen: Screen) -> int:
    """Set the watermark of a sync to a row."""
    position = Position(_not_ahead(_parsed(options.time)), options.key)
    where = f"{options.sync} reads on after {_moment(position.time)} (UTC), key {position.key}"
    return _set(options, screen, position, where)


def reset(options: Namespace, screen: Screen) -> int:
    """Forget the watermark of a sync."""
    return _set(options, screen, None, f"{options.sync} reads from the beginning")


def _set(options: Namespace, screen: Screen, position: Position | None, outcome: str) -> int:
    incremental = _incremental(options)
    if not options.yes and not screen.confirm(f"The next run of {outcome}. Go on?"):
        screen.say("Nothing was changed.")
        return NOT_DONE
    with open_ledger() as ledger:
        ledger.watermarks.set(options.sync, incremental, position, user())
    screen.say(f"The next run of {outcome}.")
    return 0


def _incremental(options: Namespace) -> Incremental:
    sync = known_syncs(options).one(options.sync)
    if sync.incremental is None:
        raise ConfigurationError(f"the sync {sync.name} reads whole days and has no watermark")
    return sync.incremental


def _parsed(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"--time is {text!r}, expected a moment such as 2026-01-13T08:00:00") from None


def _not_ahead(when: datetime) -> datetime:
    if when > datetime.now(UTC) + FURTHEST_AHEAD:
        raise ConfigurationError(
            f"--time is {_moment(when)} (UTC), which lies in the future: rows with earlier times would be left out "
            "until then; expected the time of the last row that is not to be read again"
        )
    return when


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S.%f").removesuffix(".000000")
