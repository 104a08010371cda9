"""The tables on the screen, the record as JSON, and the goals."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

FASTER_THAN_SCRIPT = 40
FASTER_THAN_DRT = 3
SHARE_OF_BARE = 0.6
SHARE_OF_LIMIT = 0.95
ROWS_PER_SECOND_ALLOWED = 5_000
"""5 requests per second to users/bulkUpdate, the slower of the two, with 1,000 rows each."""

MOST_LEDGER_COST = {"ours, ledger in SQLite": 0.10, "ours, ledger in MariaDB": 0.20}
MOST_REQUESTS_OF_CHANGED = 0.02
MOST_TIME_OF_CHANGED = 0.15
"""Of a full send at the published limits, reading left out, where 1 % of the rows changed."""

MOST_MEMORY_GROWTH = 1.5
MOST_SLOWDOWN = 1.25
"""Time per row of the largest run, in times that of the one before it; more would not be linear."""

PACKAGES = ("apache-airflow", "apache-airflow-providers-http", "aiohttp", "orjson", "pyarrow", "requests", "uvicorn")


def summarise(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one line per contender: the median of its runs, the slowest and fastest, and the worst of its counts."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_name.setdefault(result["contender"], []).append(result)
    return [_line(name, runs) for name, runs in by_name.items()]


def _line(name: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rates = [run["rows_per_second"] for run in runs]
    return {
        "contender": name,
        "rows": runs[0]["rows"],
        "runs": len(runs),
        "median": median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "throttled": max(run["sandbox"]["throttled"] for run in runs),
        "in_flight": max(run["sandbox"]["max_in_flight"] for run in runs),
        "busiest": max(_busiest(run["sandbox"]["max_in_one_second"]) for run in runs),
        "lost": max((run["lost"] for run in runs), key=abs),
    }


def speed_table(lines: Sequence[dict[str, Any]], *, compared_with: str | None = None) -> str:
    """Return a table of rows/s; with `compared_with`, also how many times that contender's rows/s each one has.

    `busiest s` is the most updates that reached the sandbox within any one second.
    """
    base = next((line["median"] for line in lines if line["contender"] == compared_with), None)
    header = [
        "contender",
        "rows",
        "rows/s",
        "slowest",
        "fastest",
        "ratio",
        "429s",
        "busiest s",
        "in flight",
        "lost calls",
    ]
    cells = [
        [
            line["contender"],
            f"{line['rows']:,}",
            f"{line['median']:,.2f}",
            f"{line['slowest']:,.2f}",
            f"{line['fastest']:,.2f}",
            f"{line['median'] / base:.2f}" if base else "",
            str(line["throttled"]),
            str(line["busiest"]),
            str(line["in_flight"]),
            str(line["lost"]),
        ]
        for line in lines
    ]
    return table([header, *cells])


def growth_table(results: Iterable[dict[str, Any]]) -> str:
    """Return a table of peak memory and of each step's seconds."""
    header = ["rows", "peak MiB", "sampled MiB", "extract s", "export s", "deliver s", "rows/s", "lost calls"]
    cells = [
        [
            f"{result['rows']:,}",
            f"{result['peak_mib']:.1f}",
            f"{result['sampled_peak_mib']:.1f}",
            *(f"{result['step_seconds'][step]:.1f}" for step in ("extract", "export_csv", "deliver")),
            f"{result['rows_per_second']:,.1f}",
            str(result["lost"]),
        ]
        for result in results
    ]
    return table([header, *cells])


def changed_table(results: Iterable[dict[str, Any]]) -> str:
    """Return a table with the full send and the one of what changed below it."""
    header = ["rows", "sent", "requests", "extract s", "deliver s", "peak MiB", "lost calls"]
    cells = [
        [
            f"{result['rows']:,}",
            f"{result[what]['outcomes'].get('delivered', 0):,}",
            f"{result[what]['requests']:,}",
            f"{result[what]['extract_seconds']:.1f}",
            f"{result[what]['deliver_seconds']:.1f}",
            f"{result[what]['peak_mib']:.1f}",
            str(result["lost"]),
        ]
        for result in results
        for what in ("full", "changed")
    ]
    return table([header, *cells])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as aligned text, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _busiest(endpoints: Mapping[str, int]) -> int:
    """Return the most update requests of one second, single or bulk."""
    return max(count for endpoint, count in endpoints.items() if "/api/users/" in endpoint)


def speed_verdicts(lines: Sequence[dict[str, Any]], *, ours: str, script: str) -> list[tuple[bool, str]]:
    """Return for each goal of speed whether it was reached, and a sentence with the numbers."""
    line = {line["contender"]: line for line in lines}
    ratio = line[ours]["median"] / line[script]["median"]
    return [
        (ratio >= FASTER_THAN_SCRIPT, f"ours is {ratio:.2f} times the script (goal: at least {FASTER_THAN_SCRIPT})"),
        (line[ours]["throttled"] == 0, f"ours caused {line[ours]['throttled']} answers with status 429 (goal: none)"),
        *complete(lines),
    ]


def limit_verdicts(results: Sequence[dict[str, Any]]) -> list[tuple[bool, str]]:
    """Return the same for one run at the published limits."""
    (result,) = results
    rate = result["rows"] / result["deliver_seconds"]
    share, throttled = rate / ROWS_PER_SECOND_ALLOWED, result["sandbox"]["throttled"]
    return [
        (
            share >= SHARE_OF_LIMIT,
            f"{result['rows']:,} rows were delivered at {rate:,.0f} rows/s, {share:.1%} of the limit "
            f"(goal: at least {SHARE_OF_LIMIT:.0%})",
        ),
        (throttled == 0, f"ours in bulk caused {throttled} answers with status 429 (goal: none)"),
        *complete(results),
    ]


def unlimited_verdicts(lines: Sequence[dict[str, Any]], *, ours: str, bare: str, drt: str) -> list[tuple[bool, str]]:
    """Return the same for runs without limits; `ours` is the one without a ledger, beside those of MOST_LEDGER_COST.

    The goal beside drt is for one sync, as one writes it; what it does with the rows divided by hand is told as well.
    """
    rates = {line["contender"]: line["median"] for line in lines}
    divided = max(rate for name, rate in rates.items() if name.startswith(drt))
    verdicts = []
    for name, most in MOST_LEDGER_COST.items():
        times, share, cost = rates[name] / rates[drt], rates[name] / rates[bare], 1 - rates[name] / rates[ours]
        verdicts += [
            (
                times >= FASTER_THAN_DRT,
                f"{name}: {times:.2f} times {drt} (goal: at least {FASTER_THAN_DRT}), "
                f"{rates[name] / divided:.2f} times the faster of its lines",
            ),
            (share >= SHARE_OF_BARE, f"{name}: {share:.0%} of the bare loader (goal: at least {SHARE_OF_BARE:.0%})"),
            (cost <= most, f"{name}: the ledger costs {cost:.1%} of the time (goal: at most {most:.0%})"),
        ]
    return verdicts + complete(lines)


def growth_verdicts(results: Sequence[dict[str, Any]]) -> list[tuple[bool, str]]:
    """Return the same for runs of growing size, the smallest first."""
    smallest, before, largest = results[0], results[-2], results[-1]
    growth = largest["peak_mib"] / smallest["peak_mib"]
    slowdown = before["rows_per_second"] / largest["rows_per_second"]
    return [
        (
            growth <= MOST_MEMORY_GROWTH,
            f"the peak of {largest['rows']:,} rows is {growth:.3f} times that of {smallest['rows']:,} "
            f"(goal: at most {MOST_MEMORY_GROWTH})",
        ),
        (
            slowdown <= MOST_SLOWDOWN,
            f"a row of {largest['rows']:,} takes {slowdown:.2f} times as long as one of {before['rows']:,} "
            f"(goal: at most {MOST_SLOWDOWN})",
        ),
        *complete(results),
    ]


def changed_verdicts(results: Sequence[dict[str, Any]]) -> list[tuple[bool, str]]:
    """Return the same for sends of what changed, the smallest first."""
    smallest, largest = results[0], results[-1]
    full, changed = largest["full"], largest["changed"]
    requests = changed["requests"] / full["requests"]
    seconds = changed["deliver_seconds"] / full["deliver_seconds"]
    growth = changed["peak_mib"] / smallest["changed"]["peak_mib"]
    rows = f"{largest['rows']:,}"
    return [
        (
            requests <= MOST_REQUESTS_OF_CHANGED,
            f"1 % of {rows} rows changed costs {requests:.1%} of the requests "
            f"(goal: at most {MOST_REQUESTS_OF_CHANGED:.0%})",
        ),
        (
            seconds <= MOST_TIME_OF_CHANGED,
            f"1 % of {rows} rows changed takes {seconds:.1%} of the time beyond reading "
            f"(goal: at most {MOST_TIME_OF_CHANGED:.0%})",
        ),
        (
            growth <= MOST_MEMORY_GROWTH,
            f"the peak of comparing {rows} rows is {growth:.3f} times that of {smallest['rows']:,} "
            f"(goal: at most {MOST_MEMORY_GROWTH})",
        ),
        *complete(results),
    ]


def complete(results: Iterable[dict[str, Any]]) -> list[tuple[bool, str]]:
    """Return a verdict for each result whose calls did not all arrive, or arrived more than once."""
    return [
        (False, f"{result['contender']}: {result['lost']} calls of {2 * result['rows']:,} are missing in the sandbox")
        for result in results
        if result["lost"]
    ]


def machine() -> dict[str, Any]:
    """Return the facts of the machine and the versions the numbers depend on."""
    names = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = {line.partition(":")[2].strip() for line in names if line.startswith("model name")}
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1024**3, 1),
        "processor": ", ".join(sorted(models)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        **{name: version(name) for name in PACKAGES},
    }
