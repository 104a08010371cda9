"""`make run`: start the servers, run the DAGs for one day, show the result, stop what was started."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from devstack import processes
from devstack.airflow_env import airflow_environment
from devstack.dag_run import RESULT_TASK, last_line
from devstack.dates import parse_day
from devstack.errors import DevstackError
from devstack.interrupts import Interrupted, interruptible
from devstack.layout import Layout
from devstack.lock import exclusive
from devstack.sandbox import Sandbox
from devstack.screen import TaskLines, table, task_name
from devstack.services import PLATFORMS, Services

DAGS = ("iterable_page_views", "customerio_page_views")
EXAMPLE_DAY = "2026-01-13"
METADATA = "make-run.db"


@dataclass
class Outcome:
    """What became of the DAG runs: their `end` events and what went wrong."""

    ends: list[Mapping[str, object]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the DAGs; return 0 on success, 1 on failure, 2 on wrong use, 128 + signal when interrupted."""
    parser = argparse.ArgumentParser(prog="make run")
    parser.add_argument("--date", default=EXAMPLE_DAY)
    parser.add_argument("--dag", action="append")
    parser.add_argument("--refuse-event", action="append", default=[], metavar="NAME")
    options = parser.parse_args(arguments)
    try:
        day = parse_day(options.date).isoformat()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        with interruptible():
            return run(Layout.here(), day, options.dag or DAGS, refused_events=options.refuse_event)
    except DevstackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as interruption:
        print(f"\nStopped by {interruption}; everything it had started is stopped.", file=sys.stderr)
        return 128 + interruption.number


def run(layout: Layout, day: str, dags: Sequence[str], *, refused_events: Sequence[str] = ()) -> int:
    """Run the DAGs in the project folder for a day (YYYY-MM-DD) and show what happened.

    Meanwhile the sandbox refuses Iterable events of the names given.
    """
    layout.create()
    screen = TaskLines(sys.stdout)
    with exclusive(layout.local / "lock", f"make run DATE={day}"):
        services = Services.chosen(layout, os.environ)
        screen.say(_what_is_used(services))
        with services, _refusing(services, refused_events):
            log = layout.logs / f"run-{datetime.now(tz=UTC):%Y%m%dT%H%M%S}.log"
            outcome = _run_dags(layout, services, day, dags, log, screen)
            _show(layout, services, outcome, log, day)
    return 1 if outcome.problems else 0


def _refusing(services: Services, events: Sequence[str]) -> AbstractContextManager[None]:
    if not events:
        return nullcontext()
    if services.sandbox is None or "iterable_default" not in services.sandboxed:
        raise DevstackError(
            f"REFUSE_EVENT needs the sandbox, but iterable_default is your own ({PLATFORMS['iterable_default']})."
        )
    return services.sandbox.refusing(events)


def _what_is_used(services: Services) -> str:
    database = "your database (AIRFLOW_CONN_MYSQL_DEFAULT)"
    if services.database is not None:
        database = "the database of make up" if services.database.is_running else "a private database"
    destinations = [
        f"your own {conn_id} ({variable})"
        for conn_id, variable in PLATFORMS.items()
        if conn_id not in services.sandboxed
    ]
    if services.sandbox is not None:
        destinations.insert(0, "the sandbox of make up" if services.sandbox.is_running else "the sandbox")
    return f"Using {' and '.join([database, *destinations])}"


def _run_dags(
    layout: Layout, services: Services, day: str, dags: Sequence[str], log: Path, screen: TaskLines
) -> Outcome:
    env = airflow_environment(layout, os.environ, metadata=METADATA, connections=services.connections())
    reading, writing = os.pipe()
    command: list[str | Path] = [sys.executable, "-m", "devstack.dag_run", "--date", day]
    command += ["--dags-folder", layout.dags, "--events", str(writing)]
    command += [word for dag in dags for word in ("--dag", dag)]
    screen.say(f"Starting Airflow: {', '.join(dags)} for {day}")
    with os.fdopen(reading, encoding="utf-8") as events:
        child = processes.launch(command, log=log, env=env, cwd=layout.root, pass_fds=[writing], death_signal="KILL")
        os.close(writing)
        try:
            outcome = _follow(events, screen)
            child.wait()
        finally:
            _end(child)
    if len(outcome.ends) < len(dags) and not outcome.problems:
        words = last_line(log.read_text(encoding="utf-8", errors="replace"))
        outcome.problems.append(f"Airflow ended before the run did (exit code {child.returncode}): {words}")
    return outcome


def _end(child: subprocess.Popen[bytes]) -> None:
    """End Airflow; inside a task it turns SIGTERM into a call of `on_kill` and goes on."""
    if child.poll() is None:
        process = processes.ProcessId.of(child.pid)
        if process is not None:
            processes.stop_session(process, first=signal.SIGINT, patience=3)
        child.poll()


def _follow(events: Iterator[str], screen: TaskLines) -> Outcome:
    """Show the child's events until it closes the channel; why a task failed for good is told at the end, once."""
    outcome = Outcome()
    failures: dict[str, str] = {}
    for line in events:
        event = json.loads(line)
        match event["event"]:
            case "phase":
                screen.say(event["text"])
            case "trouble":
                outcome.problems.append(event["text"])
            case "task":
                if event["state"] == "failed":
                    failures[task_name(event)] = event["error"]
                    event["error"] = ""
                screen.show(event)
            case "end":
                outcome.ends.append(event)
                outcome.problems += [f"{event['dag']}: {text}" for text in _problems(event, failures)]
                failures = {}
    return outcome


def _problems(end: Mapping[str, object], failures: Mapping[str, str]) -> list[str]:
    """Return why a run failed: what its report says, and the errors of its failed tasks that are not in it."""
    if end["state"] == "success":
        return []
    result = end["result"]
    told = [str(problem) for problem in result.get("problems") or ()] if isinstance(result, dict) else []
    errors = {task: error or "failed without a message" for task, error in failures.items()}
    if told:
        errors.pop(RESULT_TASK, None)
    untold = [f"{task}: {error}" for task, error in errors.items() if error not in " ".join(told)]
    return told + untold or [f"ended as {end['state']}"]


def _show(layout: Layout, services: Services, outcome: Outcome, log: Path, day: str) -> None:
    for end in outcome.ends:
        result = end["result"]
        if isinstance(result, dict):
            _show_result(layout, str(end["dag"]), str(end["state"]), result)
    print()
    if services.sandbox is not None:
        _show_sandbox(services.sandbox)
    print(f"  log      {layout.short(log)}")
    for hint in _hints(outcome, services, day):
        print(f"\n{hint}")
    if outcome.problems:
        print("\nThe run failed:", file=sys.stderr)
        for problem in outcome.problems:
            print(f"  {problem}", file=sys.stderr)


def _show_sandbox(sandbox: Sandbox) -> None:
    iterable, customerio = sandbox.stats(), sandbox.stats("customerio/")
    if iterable:
        print(
            f"  sandbox  Iterable: {iterable['users']} users, {iterable['events']} events "
            f"({iterable['events_overwritten']} arrived again and replaced themselves)"
        )
    if customerio:
        print(
            f"           Customer.io: {customerio['people']} people, {customerio['events']} events "
            f"({customerio['duplicates']} messages arrived again and were ignored)"
        )


def _hints(outcome: Outcome, services: Services, day: str) -> Iterator[str]:
    results = [end["result"] for end in outcome.ends if isinstance(end["result"], dict)]
    totals = [result["totals"] for result in results if isinstance(result.get("totals"), dict)]
    read_none = totals and not any(count.get("read") for count in totals)
    if services.database is not None and read_none and day != EXAMPLE_DAY:
        yield f"The example data is of January 2026: make run DATE={EXAMPLE_DAY}"
    if any(count.get("invalid") or count.get("rejected") for count in totals):
        yield "How many, and why: make reverse-etl ARGS='quarantine list'; which rows: ARGS='quarantine show SYNC'"


def _show_result(layout: Layout, dag: str, state: str, result: Mapping[str, object]) -> None:
    totals, seconds = result.get("totals"), result.get("seconds")
    dry = ", dry run: nothing was sent" if result.get("dry_run") else ""
    print(f"\n{dag} for {result.get('day', '?')}: {state}{dry}\n")
    if isinstance(totals, dict):
        print("\n".join(table(totals, float(seconds) if isinstance(seconds, int | float) else 0.0)), end="\n\n")
    for name in ("csv", "json", "parquet"):
        if result.get(name):
            print(f"  {name.upper():<8} {layout.short(str(result[name]))}")


if __name__ == "__main__":
    sys.exit(main())
