"""`reverse-etl preview`: what a run would do, before it does it."""

from __future__ import annotations

import uuid
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from typing import Any

from reverse_etl.cli.quarantine import known_syncs
from reverse_etl.cli.screen import Screen
from reverse_etl.incremental import Span
from reverse_etl.operators.preview import preview
from reverse_etl.operators.reading import span_read_next
from reverse_etl.operators.syncs import Syncs
from reverse_etl.run_day import RunDay, day_on_request
from reverse_etl.sync import Sync

WORDS = {
    "new": "never delivered, or removed since",
    "changed": "differ from what was last delivered",
    "changed_mapping": "only the mapping changed",
    "in_doubt": "the last try did not arrive, or may have been followed by another",
    "as_before": "equal to what was last delivered, sent all the same",
    "unchanged": "equal to what was last delivered, not sent",
    "invalid": "refused before sending, into quarantine",
    "suppressed": "people who must not be written to",
    "removed": "have left the source, removed there",
}
REFUSED = ("outcome", "code", "field", "rows", "sample")
STOPPED = 1
WINDOW_DAYS = 7
"""Where the DAG does not say."""


def show(options: Namespace, screen: Screen) -> int:
    """Say what a run of a sync would do; no request leaves."""
    syncs = known_syncs(options)
    sync = syncs.one(options.sync)
    window = _window(syncs, sync, options)
    sends = options.send or sync.send
    found = preview(
        sync,
        window,
        sends_all=sends == "all",
        batch_rows=options.batch_rows,
        run_id=f"preview-{uuid.uuid4().hex[:8]}",
        log=screen,
    )
    facts: dict[str, Any] = {"sync": sync.name, **_read(window), "send": sends, "read": found.read}
    if found.leaving is not None:
        facts["leaving"] = found.leaving.as_dict()
    if options.json:
        screen.json({**facts, "prediction": found.prediction, "problems": found.problems})
    else:
        screen.say(f"PREVIEW of {sync.name} {_named(window)}, sending {sends}: nothing was sent.")
        _say(screen, facts, found.prediction)
    for problem in found.problems:
        screen.complain(problem)
    return STOPPED if found.problems else 0


def _window(syncs: Syncs, sync: Sync, options: Namespace) -> RunDay | Span:
    """Return what a run with this date would read: an incremental sync without one reads on from its watermark."""
    if sync.incremental is not None and not options.date:
        return span_read_next(sync.name, sync.incremental)
    window_days = options.window_days or syncs.window_days.get(sync.name, WINDOW_DAYS)
    return RunDay(day_on_request(options.date, datetime.now(UTC)), window_days)


def _read(window: RunDay | Span) -> dict[str, str | None]:
    if isinstance(window, RunDay):
        return {"day": window.day.isoformat()}
    return {"day": None, "after": window.after and window.after.time.isoformat()}


def _named(window: RunDay | Span) -> str:
    if isinstance(window, RunDay):
        return f"for {window.day}"
    return f"for rows after {window.after.time} (UTC)" if window.after else "for all rows"


def _say(screen: Screen, facts: dict[str, Any], prediction: dict[str, Any]) -> None:
    screen.say("")
    rows = [(name, count, WORDS[name]) for name, count in prediction["rows"].items() if count]
    screen.table(("rows", "number", "meaning"), rows or [("read", 0, "the query gives none")])
    screen.say("")
    if prediction["refused"]:
        refused = [tuple(why[name] for name in REFUSED) for why in prediction["refused"]]
        screen.table(("refused", "reason", "field", "number", "such as row"), refused)
        screen.say("")
    for problem in prediction["problems"]:
        screen.say(f"The run would fail at its end: {problem}.")
        screen.say("")
    for reason in facts.get("leaving", {}).get("reasons", ()):
        screen.say(f"Before a row is removed somebody is asked: {reason}.")
        screen.say("")
    requests = prediction["requests"]
    table = [(name, here["requests"], here["calls"], f"{here['per_second']:g}") for name, here in requests.items()]
    if not table:
        screen.say("No request would leave.")
        return
    screen.table(("endpoint", "requests", "calls", "per second"), table)
    screen.say(f"About {_time(prediction['minutes'])} at these rates, if nobody else uses them.")
    for sample in prediction["sample"]:
        screen.say("")
        screen.say(f"row {sample['key']}: {sample['reason']}")
        for call in sample["calls"]:
            screen.say(f"  {call['call']}: {call['reason']}")
            for line in _payload(call["payload"]):
                screen.say(f"    {line}")


def _payload(payload: object, prefix: str = "") -> list[str]:
    if not isinstance(payload, dict):
        return [f"{prefix.removesuffix('.')}: {payload}"]
    return [line for name, value in payload.items() for line in _payload(value, f"{prefix}{name}.")]


def _time(minutes: float) -> str:
    return str(timedelta(seconds=max(1, round(minutes * 60))))
