"""`reverse-etl quarantine`: list, show, replay, discard."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import make_url  # noqa: TID253 - no DAG file reaches this module

from reverse_etl.cli.screen import Screen
from reverse_etl.delivery.outcomes import Totals
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import QuarantinedCall
from reverse_etl.operators.ledger import ledger_url, open_ledger
from reverse_etl.operators.purge import known_keys
from reverse_etl.operators.replay import (
    ReplayBatch,
    ReplayRun,
    Selection,
    Summary,
    Wanted,
    finish,
    parse_since,
    replay_batch,
    reread,
    select,
    summarise,
)
from reverse_etl.operators.syncs import Syncs, dags_folder, find_syncs
from reverse_etl.operators.turns import give_turn_back, keeping_turn
from reverse_etl.sync import Sync

NOT_ALL_DELIVERED = 1
DAG_ID = "reverse-etl"

LONGEST_REASON = 31
"""A line of `show` has 100 characters with it."""


def list_counts(options: Namespace, screen: Screen) -> int:
    """Count the calls in quarantine."""
    since = parse_since(options.since)
    with open_ledger(create=False) as ledger:
        counts = ledger.quarantine.counts(options.sync, since=since)
    rows = [
        (sync, outcome.value, code, calls)
        for (sync, outcome, code), calls in counts.items()
        if options.reason in (None, code)
    ]
    header = ("sync", "outcome", "reason", "calls")
    if not rows:
        _check_sync(options)
    if options.json:
        screen.json([dict(zip(header, row, strict=True)) for row in rows])
    elif rows:
        screen.table(header, rows)
    else:
        _say_empty(options, screen)
    return 0


def show(options: Namespace, screen: Screen) -> int:
    """List calls of a sync."""
    key = options.key
    if options.key_values:
        syncs = known_syncs(options)
        [key] = known_keys([(options.sync, options.key_values)], syncs)[options.sync]
    with open_ledger(create=False) as ledger:
        calls = list(islice(_calls(ledger, options, key), options.limit + 1))
    listed = calls[: options.limit]
    if not listed:
        _check_sync(options)
    if options.json:
        screen.json([_as_dict(call) for call in listed])
        return 0
    if not listed:
        _say_empty(options, screen)
        return 0
    shown = [_as_dict(call) if options.wide else _narrow(call) for call in listed]
    screen.table([name.replace("_", " ") for name in shown[0]], [list(call.values()) for call in shown])
    if len(calls) > len(listed):
        screen.say(f"There are more than these {len(listed)}; see more with --limit.")
    return 0


def replay(options: Namespace, screen: Screen) -> int:
    """Read the rows again and send them; the exit code says whether all were delivered."""
    wanted = Wanted(options.sync, options.reason, parse_since(options.since))
    sync = known_syncs(options).one(options.sync)
    open_ledger(create=False).close()
    selection = select(wanted)
    if not selection.calls:
        _say_empty(options, screen)
        return 0
    _say_selection(screen, selection)
    if options.dry_run:
        screen.say("Dry run: nothing was read or sent.")
        return 0
    run = ReplayRun(DAG_ID, f"cli__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}")
    folder = run.folder(sync.name)
    try:
        with keeping_turn(sync, run.dag_id, run.run_id):
            found = reread(sync, wanted, folder, batch_rows=options.batch_rows)
            problems, totals = _deliver(sync, run, found.batches, screen)
            remaining = finish(sync.name, run, totals)
            summary = summarise(found.not_in_source, found.forgotten, totals, remaining)
    finally:
        give_turn_back(sync.name, run.dag_id, run.run_id)
        # Nobody can go on with this run: what it did not deliver is in quarantine.
        if folder.exists():
            folder.fs.rm(folder.parent.path, recursive=True)
    summary.problems[:0] = problems
    return _say_result(screen, summary)


def discard(options: Namespace, screen: Screen) -> int:
    """Forget calls without sending them."""
    since = parse_since(options.since)
    with open_ledger(create=False) as ledger:
        number = sum(1 for call in _calls(ledger, options, None) if options.key is None or call.key in options.key)
        if not number:
            _check_sync(options)
            _say_empty(options, screen)
            return 0
        if not options.yes and not screen.confirm(f"Forget {number} calls of {options.sync} for good?"):
            screen.say("Nothing was discarded.")
            return 0
        gone = ledger.quarantine.discard(options.sync, keys=options.key, code=options.reason, since=since)
    screen.say(f"{gone} calls of {options.sync} were discarded.")
    return 0


def known_syncs(options: Namespace) -> Syncs:
    """Return the syncs of the DAG files."""
    return find_syncs(Path(options.dags_folder) if options.dags_folder else dags_folder())


def _calls(ledger: Ledger, options: Namespace, key: str | None) -> Iterator[QuarantinedCall]:
    since = parse_since(options.since)
    if key is None:
        return ledger.quarantine.calls(options.sync, code=options.reason, since=since)
    calls: Iterable[QuarantinedCall] = ledger.quarantine.show(options.sync, key)
    return (
        call for call in calls if options.reason in (None, call.code) and (since is None or call.last_seen >= since)
    )


def _as_dict(call: QuarantinedCall) -> dict[str, object]:
    return {
        "key": call.key,
        "call": call.call or "(row)",
        "outcome": call.outcome.value,
        "reason": call.code,
        "status": call.status,
        "request_id": call.request_id,
        "first_seen": f"{call.first_seen:%Y-%m-%d %H:%M:%S}",
        "last_seen": f"{call.last_seen:%Y-%m-%d %H:%M:%S}",
        "tries": call.tries,
        "run": f"{call.dag_id} {call.run_id}".strip(),
    }


def _narrow(call: QuarantinedCall) -> dict[str, object]:
    """Return what fits a terminal of 100 columns."""
    reason = call.code if len(call.code) <= LONGEST_REASON else f"{call.code[: LONGEST_REASON - 3]}..."
    return {
        "key": call.key,
        "call": call.call or "(row)",
        "outcome": call.outcome.value,
        "reason": reason,
        "last_seen": f"{call.last_seen:%Y-%m-%d}",
    }


def _deliver(
    sync: Sync, run: ReplayRun, batches: Iterable[ReplayBatch], screen: Screen
) -> tuple[list[str], list[tuple[ReplayBatch, Totals]]]:
    problems: list[str] = []
    totals: list[tuple[ReplayBatch, Totals]] = []
    for batch in batches:
        delivered = replay_batch(sync, batch, run, screen)
        if delivered.stopped is not None and not isinstance(delivered.stopped, Exception):
            raise delivered.stopped
        if delivered.stopped is not None:
            problems.append(f"batch {batch.index} stopped: {delivered.counts.stopped}")
        totals.append((batch, delivered.totals))
    return problems, totals


def _say_selection(screen: Screen, selection: Selection) -> None:
    screen.table(("outcome", "reason", "calls"), selection.calls)
    screen.say("")
    screen.table(("day", "window days", "rows"), selection.days)
    if selection.forgotten:
        screen.say(f"{selection.forgotten} rows of runs the ledger has forgotten cannot be replayed; discard them.")
    screen.say("")


def _say_result(screen: Screen, summary: Summary) -> int:
    screen.table(list(summary.totals), [list(summary.totals.values())])
    if summary.not_in_source:
        screen.say(f"{summary.not_in_source} rows are not in the source any more; they stay in quarantine.")
    screen.say(f"{summary.in_quarantine} calls of the sync are in quarantine.")
    for problem in summary.problems:
        screen.complain(problem)
    return 0 if summary.is_complete else NOT_ALL_DELIVERED


def _check_sync(options: Namespace) -> None:
    """Refuse the name of a sync no DAG has and the quarantine does not know, when nothing was found for it."""
    if options.sync is None:
        return
    with open_ledger(create=False) as ledger:
        former = {sync for sync, _, _ in ledger.quarantine.counts()}
    known_syncs(options).check(options.sync, former=former)


def _say_empty(options: Namespace, screen: Screen) -> None:
    place = make_url(ledger_url()).render_as_string(hide_password=True)
    narrowed = [name for name in ("key", "key_values", "reason", "since") if getattr(options, name, None)]
    if narrowed:
        what = f"No call{f' of {options.sync}' if options.sync else ''} in quarantine fits"
        what += f" {' and '.join('--' + name.replace('_', '-') for name in narrowed)}"
    else:
        what = f"No call of {options.sync} is in quarantine" if options.sync else "The quarantine is empty"
    screen.say(f"{what} (ledger: {place}).")
