"""`python -m benchmarks`: measure, print the tables, keep the numbers in `.local/benchmarks/`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import customerio_report, parts, report
from benchmarks.customerio import customerio, customerio_memory
from benchmarks.peer_environment import NotInstalledError
from benchmarks.rows import ROWS, generate
from devstack.database import PrivateServer
from devstack.errors import DevstackError
from devstack.interrupts import Interrupted, interruptible
from devstack.layout import Layout

PARTS = {
    "script": parts.script,
    "limits": parts.limits,
    "unlimited": parts.unlimited,
    "growth": parts.growth,
    "changed": parts.changed,
    "customerio": customerio,
    "customerio_memory": customerio_memory,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0 when every goal was reached, 1 when not, 2 when nothing could be measured."""
    options = _parser().parse_args(arguments)
    plan = _plan(options)
    chosen = [part for part in PARTS if part in options.only]
    try:
        with interruptible():
            return _measure(Layout.here().local / "benchmarks", plan, chosen)
    except Interrupted:
        print("benchmarks: stopped; nothing was recorded", file=sys.stderr)
        return 130
    except (DevstackError, NotInstalledError, RuntimeError) as problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 2


def _measure(home: Path, plan: parts.Plan, chosen: Sequence[str]) -> int:
    began = datetime.now(UTC)
    record: dict[str, Any] = {"began": began.isoformat(), "machine": report.machine()}
    print(f"About {plan.seconds(chosen) / 60:.0f} minutes. Nothing else should run on this machine meanwhile.")
    verdicts: list[tuple[bool, str]] = []
    target = home / f"{began:%Y%m%dT%H%M%SZ}.json"
    folder = target.with_suffix("")
    folder.mkdir(parents=True)
    with PrivateServer(home / "database") as server:
        print(f"Generating {ROWS:,} rows in the database, unless they are there.", flush=True)
        generate(server)
        workshop = parts.Workshop(server, folder, Layout.here().local / "uv" / "bin")
        for part in chosen:
            print(f"\nMeasuring {part} ...", flush=True)
            results = PARTS[part](workshop, plan)
            record[part] = results
            verdicts += _show(part, results)
    record["seconds"] = (datetime.now(UTC) - began).total_seconds()
    record["verdicts"] = [text for _, text in verdicts]
    shutil.rmtree(folder)
    target.write_text(json.dumps(record, indent=1), encoding="utf-8")
    print()
    for reached, text in verdicts:
        print(f"{'reached' if reached else 'MISSED '}  {text}")
    print(f"{record['seconds'] / 60:.1f} minutes; all numbers: {target}")
    return 0 if all(reached for reached, _ in verdicts) else 1


def _show(part: str, results: Sequence[dict[str, Any]]) -> list[tuple[bool, str]]:
    match part:
        case "script":
            lines = report.summarise(results)
            print(
                "\nCall by call: published limits on, 50 ms latency; median of the runs. ratio: times the first line."
            )
            print(report.speed_table(lines, compared_with=parts.SCRIPT))
            print(
                "busiest s: the most updates that reached the sandbox within any one second.\n"
                "HttpOperator and DAG are run by dag.test(): one task after another in one process, without the\n"
                "scheduler's and the task process' overhead per task, which flatters them. A scheduler would run\n"
                "several tasks at once."
            )
            return report.speed_verdicts(lines, ours="ours", script=parts.SCRIPT)
        case "limits":
            print("\nIn bulk: published limits on, 50 ms latency, from the database to the last answer.")
            print(report.speed_table(report.summarise(results)))
            return report.limit_verdicts(results)
        case "unlimited":
            lines = report.summarise(results)
            print(
                "\nIn bulk: no limits, 50 ms latency; client, sandbox and databases share the cores. ratio: times drt."
            )
            print(report.speed_table(lines, compared_with=parts.DRT))
            return report.unlimited_verdicts(lines, ours=parts.UNLEDGERED, bare=parts.BARE, drt=parts.DRT)
        case "changed":
            print("\nChanged only: the first run, then one of 1 % of the rows; published limits, 50 ms latency.")
            print(report.changed_table(results))
            return report.changed_verdicts(results)
        case "customerio":
            print(customerio_report.text(results))
            return customerio_report.verdicts(results)
        case "customerio_memory":
            print(customerio_report.memory_text(results))
            return customerio_report.complete(results)
        case _:
            print("\nGrowth: one process that extracts, exports and delivers in bulk, with a ledger; no limits, 0 ms.")
            print(report.growth_table(results))
            return report.growth_verdicts(results)


def _plan(options: argparse.Namespace) -> parts.Plan:
    plan = parts.QUICK if options.quick else parts.Plan()
    if options.rows:
        plan = replace(plan, limited_rows=options.rows, unlimited_rows=options.rows)
    return plan


def _rows(text: str) -> int:
    rows = int(text)
    if not 1 <= rows <= ROWS:
        raise argparse.ArgumentTypeError(f"{rows} rows, expected 1 to {ROWS:,}")
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed and memory.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=tuple(PARTS), help="measure only these parts")
    parser.add_argument(
        "--rows", type=_rows, metavar="N", help="rows in bulk, with limits and without (default: 200000)"
    )
    parser.add_argument("--quick", action="store_true", help="few rows, once each: to see that it works")
    return parser


if __name__ == "__main__":
    sys.exit(main())
