"""`reverse-etl check`: what the first task of a DAG looks at, on the terminal."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime

from reverse_etl.checking import HEADER, Finding, error, errors_of
from reverse_etl.cli.quarantine import known_syncs
from reverse_etl.cli.screen import Screen
from reverse_etl.errors import DestinationError
from reverse_etl.operators.check import check_sync
from reverse_etl.run_day import RunDay, resolve_day

CHECK_FAILED = 1


def check(options: Namespace, screen: Screen) -> int:
    """Show every finding; return 1 when one of them is an error."""
    sync = known_syncs(options).one(options.sync)
    now = datetime.now(UTC)
    day = resolve_day(options.date, logical_date=None, run_after=now, today=now.date())
    findings: list[Finding]
    try:
        findings = check_sync(sync, RunDay(day, options.window_days), ask=not options.offline)
    except DestinationError as refusal:
        findings = [error("platform", str(refusal))]
    if options.json:
        screen.json([dict(zip(HEADER, finding.as_row(), strict=True)) for finding in findings])
    else:
        screen.table(HEADER, [finding.as_row() for finding in findings])
    return CHECK_FAILED if errors_of(findings) else 0
