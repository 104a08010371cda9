"""The pure parts of the benchmarks: how runs become lines, lines become verdicts, and what is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import customerio_report, report
from benchmarks.customerio import BEST, DEFAULTS, OURS
from benchmarks.parts import QUICK, Plan

ROOT = Path(__file__).parents[2]


def speed_result(
    contender: str, rate: float, *, throttled: int = 0, busiest: int = 495, lost: int = 0
) -> dict[str, Any]:
    seen = {"throttled": throttled, "max_in_flight": 100, "max_in_one_second": {"POST /api/users/update": busiest}}
    return {"contender": contender, "rows": 50, "rows_per_second": rate, "lost": lost, "sandbox": seen}


def growth_result(rows: int, peak: float, *, lost: int = 0) -> dict[str, Any]:
    seconds = {"extract": 1.0, "export_csv": 0.5, "deliver": 60.0}
    return {
        "contender": "steps",
        "rows": rows,
        "rows_per_second": 900.0,
        "peak_mib": peak,
        "sampled_peak_mib": peak - 1,
        "step_seconds": seconds,
        "lost": lost,
    }


def missed(verdicts: list[tuple[bool, str]]) -> list[str]:
    return [text for reached, text in verdicts if not reached]


def test_a_line_has_the_median_and_the_spread_of_the_runs_and_their_worst_counts() -> None:
    results = [
        speed_result("ours", 480.0),
        speed_result("script", 9.0),
        speed_result("ours", 500.0, throttled=2, busiest=499, lost=1),
        speed_result("ours", 470.0, lost=-3),
    ]
    ours, script = report.summarise(results)
    assert (ours["median"], ours["slowest"], ours["fastest"], ours["runs"]) == (480.0, 470.0, 500.0, 3)
    assert (ours["throttled"], ours["busiest"], ours["lost"]) == (2, 499, -3)
    assert (script["contender"], script["median"]) == ("script", 9.0)


@pytest.mark.parametrize(
    ("results", "complaint"),
    [
        ([speed_result("ours", 399.9), speed_result("script", 10.0)], "39.99 times"),
        ([speed_result("ours", 450.0, throttled=1), speed_result("script", 10.0)], "429"),
        ([speed_result("ours", 450.0, lost=7), speed_result("script", 10.0)], "ours: 7 calls of 100"),
        ([speed_result("ours", 450.0), speed_result("script", 10.0, lost=-1)], "script: -1 calls of 100"),
    ],
    ids=["too slow", "throttled", "lost", "sent twice"],
)
def test_a_missed_goal_of_speed_is_told_with_its_number(results: list[dict[str, Any]], complaint: str) -> None:
    (text,) = missed(report.speed_verdicts(report.summarise(results), ours="ours", script="script"))
    assert complaint in text


def test_forty_times_the_script_without_a_429_reaches_the_goals() -> None:
    lines = report.summarise([speed_result("ours", 400.0), speed_result("script", 10.0)])
    assert missed(report.speed_verdicts(lines, ours="ours", script="script")) == []


@pytest.mark.parametrize(("peak", "rate", "complaints"), [(150.0, 720.0, 0), (150.2, 900.0, 1), (100.0, 719.0, 1)])
def test_memory_may_grow_by_half_and_a_row_take_a_quarter_longer(peak: float, rate: float, complaints: int) -> None:
    largest = growth_result(1_000_000, peak) | {"rows_per_second": rate}
    verdicts = report.growth_verdicts([growth_result(10_000, 100.0), growth_result(100_000, 100.0), largest])
    assert len(missed(verdicts)) == complaints


@pytest.mark.parametrize(
    ("seconds", "throttled", "lost", "complaint"),
    [(10.6, 0, 0, "94.3% of the limit"), (10.0, 3, 0, "3 answers with status 429"), (10.0, 0, 2, "2 calls of 100,000")],
)
def test_a_missed_goal_at_the_limits_is_told(seconds: float, throttled: int, lost: int, complaint: str) -> None:
    result = speed_result("bulk", 0.0, throttled=throttled, lost=lost) | {"rows": 50_000, "deliver_seconds": seconds}
    (text,) = missed(report.limit_verdicts([result]))
    assert complaint in text


def unlimited_rates(**changed: float) -> list[dict[str, Any]]:
    rates = {"drt": 100.0, "drt, 2 threads": 90.0, "bare": 600.0, "ours": 420.0}
    rates |= {"ours, ledger in SQLite": 400.0, "ours, ledger in MariaDB": 370.0}
    rates |= {name.replace("_", " "): rate for name, rate in changed.items()}
    return report.summarise([speed_result(name, rate) for name, rate in rates.items()])


@pytest.mark.parametrize(
    ("changed", "complaints"),
    [
        ({}, []),
        ({"drt": 130.0}, ["2.85 times drt (goal: at least 3), 2.85 times the faster"]),
        ({"drt": 130.0, "drt,_2_threads": 185.0}, ["2.85 times drt (goal: at least 3), 2.00 times the faster"]),
        ({"bare": 640.0}, ["58% of the bare loader"]),
        ({"ours": 450.0}, ["SQLite: the ledger costs 11.1%"]),
        ({"ours": 480.0}, ["SQLite: the ledger costs 16.7%", "MariaDB: the ledger costs 22.9%"]),
    ],
)
def test_a_missed_goal_without_limits_is_told(changed: dict[str, float], complaints: list[str]) -> None:
    texts = missed(report.unlimited_verdicts(unlimited_rates(**changed), ours="ours", bare="bare", drt="drt"))
    assert len(texts) == len(complaints)
    assert all(complaint in text for complaint, text in zip(complaints, texts, strict=True))


def changed_result(rows: int, *, requests: int = 4, seconds: float = 3.0, peak: float = 100.0) -> dict[str, Any]:
    full = {"requests": 200, "deliver_seconds": 20.0, "extract_seconds": 1.0, "peak_mib": 120.0}
    changed = {"requests": requests, "deliver_seconds": seconds, "extract_seconds": 1.0, "peak_mib": peak}
    both = {"full": {**full, "outcomes": {"delivered": rows}}, "changed": {**changed, "outcomes": {"delivered": 1}}}
    return {"contender": "changed only", "rows": rows, "lost": 0, **both}


@pytest.mark.parametrize(
    ("largest", "complaint"),
    [
        ({"requests": 5}, "costs 2.5% of the requests"),
        ({"seconds": 3.1}, "takes 15.5% of the time"),
        ({"peak": 151.0}, "1.510 times"),
    ],
)
def test_a_missed_goal_of_sending_what_changed_is_told(largest: dict[str, Any], complaint: str) -> None:
    (text,) = missed(report.changed_verdicts([changed_result(10), changed_result(1000, **largest)]))
    assert complaint in text
    assert missed(report.changed_verdicts([changed_result(10), changed_result(1000)])) == []


def test_the_table_of_what_changed_has_a_line_for_each_send() -> None:
    _, full, changed = report.changed_table([changed_result(1000)]).splitlines()
    assert full.split() == ["1,000", "1,000", "200", "1.0", "20.0", "120.0", "0"]
    assert changed.split() == ["1,000", "1", "4", "1.0", "3.0", "100.0", "0"]


def test_a_growing_run_that_lost_calls_is_told() -> None:
    verdicts = report.growth_verdicts([growth_result(10, 100.0), growth_result(20, 100.0, lost=40)])
    assert missed(verdicts) == ["steps: 40 calls of 40 are missing in the sandbox"]


def test_a_table_is_aligned_and_compares_with_the_named_contender() -> None:
    lines = report.summarise([speed_result("script", 10.0), speed_result("ours", 456.789)])
    header, script, ours = report.speed_table(lines, compared_with="script").splitlines()
    assert len(header) == len(script) == len(ours)
    assert script.split()[2:6] == ["10.00", "10.00", "10.00", "1.00"]
    assert ours.split()[2:6] == ["456.79", "456.79", "456.79", "45.68"]


def test_the_memory_table_has_every_step() -> None:
    row = report.growth_table([growth_result(1_000_000, 150.25)]).splitlines()[1]
    assert row.split() == ["1,000,000", "150.2", "149.2", "1.0", "0.5", "60.0", "900.0", "0"]


def test_the_time_told_beforehand_is_that_of_the_chosen_parts() -> None:
    plan = Plan()
    assert plan.seconds(["script", "growth"]) == plan.seconds(["script"]) + plan.seconds(["growth"])
    assert 0 < QUICK.seconds(["script"]) < plan.seconds(["script"])


def test_what_is_measured_is_the_mapping_of_the_dags(tmp_path: Path) -> None:
    code = (
        "from iterable_page_views import SYNC; from benchmarks.sync import DESTINATION; "
        "from dataclasses import replace; print(replace(SYNC.destination, calls=DESTINATION.calls) == DESTINATION); "
        "import customerio_page_views; from benchmarks import customerio_sync; "
        "print(customerio_page_views.SYNC.destination == customerio_sync.DESTINATION)"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "dags"), str(ROOT / "plugins")])
    environ = {"PATH": os.defpath, "PYTHONPATH": paths, "AIRFLOW_HOME": str(tmp_path), "HOME": str(tmp_path)}
    answer = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-2:] == ["True", "True"]


def customerio_result(contender: str, measure: str, rate: float, cpu: float, **changed: int) -> dict[str, Any]:
    seen = {"requests": {"200": 9, "429": 1}, "duplicates": 0}
    facts = {"messages_per_second": rate, "cpu_microseconds_per_message": cpu, "peak_mib": 50.0, "sandbox": seen}
    counts = {"lost": 0, "doubled": 0, "claimed": 60, "arrived": 60}
    return {"contender": contender, "measure": measure, "rows": 100, **facts, **counts, **changed}


def customerio_results(*, rate: float = 300.0, cpu: float = 10.0, **killed: int) -> list[dict[str, Any]]:
    peers = [customerio_result(DEFAULTS, "speed", 30.0, 22.0), customerio_result(BEST, "speed", 100.0, 20.0)]
    ours = [customerio_result(OURS, "speed", rate, cpu), customerio_result(OURS, "sigterm", rate, cpu, **killed)]
    return [*peers, *ours]


def test_ten_times_the_sdk_and_three_times_its_best_at_half_the_work_reaches_the_goals() -> None:
    assert missed(customerio_report.verdicts(customerio_results())) == []


@pytest.mark.parametrize(
    ("results", "complaints"),
    [
        (customerio_results(rate=299.0), ["9.97 times SDK, defaults", "2.99 times SDK, best"]),
        (customerio_results(cpu=10.5), ["0.53 of the processor time of SDK, best"]),
        (customerio_results(lost=2), ["2 messages of 200 lost"]),
        (customerio_results(doubled=3), ["3 doubled"]),
        (customerio_results(claimed=64), ["4 said to be delivered that were not"]),
    ],
    ids=["too slow", "too much work", "lost", "doubled", "claimed but not there"],
)
def test_a_missed_goal_beside_the_sdk_is_told(results: list[dict[str, Any]], complaints: list[str]) -> None:
    texts = missed(customerio_report.verdicts(results))
    assert len(texts) == len(complaints)
    assert all(complaint in text for complaint, text in zip(complaints, texts, strict=True))


def test_the_tables_of_customerio_have_a_line_for_every_result() -> None:
    text = customerio_report.text(customerio_results(claimed=64, doubled=7))
    assert [line.split() for line in text.splitlines() if line.startswith(OURS)] == [
        [*OURS.split(), "200", "300", "300", "300", "10.0", "50", "0", "0"],
        [*OURS.split(), "200", "64", "60", "4", "0", "7", "0"],
    ]
