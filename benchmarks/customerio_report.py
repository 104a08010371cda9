"""The tables and the goals of the part `customerio`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from benchmarks.customerio import BEST, DEFAULTS, OURS
from benchmarks.report import table

FASTER_THAN = {DEFAULTS: 10, BEST: 3}
MOST_CPU = {DEFAULTS: 0.5, BEST: 0.5}
"""Processor time per message, as a share of the SDK's."""


def text(results: Sequence[dict[str, Any]]) -> str:
    """Return the tables of all measures."""
    speed = of("speed", results)
    parts = [
        "\nCustomer.io: 50 ms latency; a row is two messages. Median of the runs; us: processor time per message.",
        table([["contender", "messages", "messages/s", "slowest", "fastest", "us", "MiB", "lost", "doubled"], *speed]),
    ]
    for measure, title in (
        ("exit", "Ended without a flush, and without a look at what the queue refused:"),
        ("faults", "With 1 % of the answers a 429 and 1 % a 503:"),
    ):
        parts += [f"\n{title}", _table([run for run in results if run["measure"] == measure])]
    header = ["contender", "messages", "claimed", "arrived", "gone", "again: lost", "doubled", "resent"]
    killed = [_killed_cells(run) for run in results if run["measure"] == "sigterm"]
    return "\n".join([*parts, "\nEnded by SIGTERM halfway, then run again:", table([header, *killed])])


def memory_text(results: Sequence[dict[str, Any]]) -> str:
    """Return the table of peak memory."""
    return f"\nCustomer.io, 50 ms latency; MiB: the peak resident sets of all processes together.\n{_table(results)}"


def of(measure: str, results: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Return a line per contender of a measure that was repeated."""
    return [
        [
            name,
            f"{2 * runs[0]['rows']:,}",
            f"{_median(runs, 'messages_per_second'):,.0f}",
            f"{min(run['messages_per_second'] for run in runs):,.0f}",
            f"{max(run['messages_per_second'] for run in runs):,.0f}",
            f"{_median(runs, 'cpu_microseconds_per_message'):.1f}",
            f"{max(run['peak_mib'] for run in runs):,.0f}",
            str(sum(run["lost"] for run in runs)),
            str(sum(run["doubled"] for run in runs)),
        ]
        for name, runs in _by_name(measure, results).items()
    ]


def verdicts(results: Sequence[dict[str, Any]]) -> list[tuple[bool, str]]:
    """Return for each goal whether it was reached, and a sentence with the numbers."""
    speed = _by_name("speed", results)
    rate = {name: _median(runs, "messages_per_second") for name, runs in speed.items()}
    cpu = {name: _median(runs, "cpu_microseconds_per_message") for name, runs in speed.items()}
    found = []
    for name, least in FASTER_THAN.items():
        times = rate[OURS] / rate[name]
        found.append((times >= least, f"{OURS}: {times:.2f} times {name} in messages/s (goal: at least {least})"))
    for name, most in MOST_CPU.items():
        share = cpu[OURS] / cpu[name]
        told = f"{OURS}: {share:.2f} of the processor time of {name} per message (goal: at most {most})"
        found.append((share <= most, told))
    return found + complete(results)


def complete(results: Iterable[dict[str, Any]]) -> list[tuple[bool, str]]:
    """Return for each of our runs whether everything arrived, once."""
    return [_complete(run) for run in results if run["contender"] == OURS]


def _complete(run: dict[str, Any]) -> tuple[bool, str]:
    false = max(0, run.get("claimed", 0) - run.get("arrived", 0))
    told = (
        f"{run['contender']}, {run['measure']}: {run['lost']} messages of {2 * run['rows']:,} lost, "
        f"{run['doubled']} doubled, {false} said to be delivered that were not (goal: none)"
    )
    return not (run["lost"] or run["doubled"] or false), told


def _by_name(measure: str, results: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    named: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if result["measure"] == measure:
            named.setdefault(result["contender"], []).append(result)
    return named


def _median(runs: Iterable[dict[str, Any]], name: str) -> float:
    return float(median(run[name] for run in runs))


def _table(results: Sequence[dict[str, Any]]) -> str:
    header = ["contender", "messages", "messages/s", "MiB", "429s", "503s", "resent", "lost", "doubled"]
    return table([header, *(_cells(run) for run in results)])


def _cells(run: dict[str, Any]) -> list[str]:
    seen = run["sandbox"]
    return [
        run["contender"],
        f"{2 * run['rows']:,}",
        f"{run['messages_per_second']:,.0f}",
        f"{run['peak_mib']:,.0f}",
        str(seen["requests"].get("429", 0)),
        str(seen["requests"].get("503", 0)),
        str(seen["duplicates"]),
        str(run["lost"]),
        str(run["doubled"]),
    ]


def _killed_cells(run: dict[str, Any]) -> list[str]:
    return [
        run["contender"],
        f"{2 * run['rows']:,}",
        f"{run['claimed']:,}",
        f"{run['arrived']:,}",
        f"{max(0, run['claimed'] - run['arrived']):,}",
        str(run["lost"]),
        f"{run['doubled']:,}",
        str(run["sandbox"]["duplicates"]),
    ]
