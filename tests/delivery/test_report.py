from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from upath import UPath

from reverse_etl.delivery.outcomes import CallResult, Outcome, RowResult, add_up
from reverse_etl.delivery.report import MOST_DELIVERED_ROWS, Report, RunFacts
from reverse_etl.delivery.results import read_results, writing_results
from reverse_etl.errors import StagingError

UPDATED = CallResult("user_update", Outcome.DELIVERED, "delivered", 200, 1)
TRACKED = CallResult("event_track", Outcome.DELIVERED, "delivered", 200, 1, "request-1")
REFUSED = CallResult("event_track", Outcome.REJECTED, "BadParams", 400, 1)


def key(name: object) -> str:
    return hashlib.blake2b(str(name).encode(), digest_size=16).hexdigest()


def delivered(number: int) -> RowResult:
    return RowResult.of_calls(key(number), [UPDATED, TRACKED])


def write(
    folder: Path, results: Iterable[RowResult], *, read: int, failure_share: float = 0.05, dry_run: bool = False
) -> Report:
    facts = RunFacts(
        "views", "2026-01-13", "a", "b", "run-1", dry_run=dry_run, send="all", read=read, seconds={"extract": 0.5}
    )
    report = Report(facts, failure_share)
    parquet = UPath(folder / "results.parquet")
    report.write_parquet(results, parquet)
    report.write_json(parquet, UPath(folder / "results.json"))
    return report


def read_json(folder: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = orjson.loads((folder / "results.json").read_bytes())
    return parsed


def test_totals_that_do_not_add_up_are_a_problem(tmp_path: Path) -> None:
    report = write(tmp_path, [delivered(1)], read=3)
    (problem,) = report.problems()
    assert problem == "the totals do not add up: 3 rows were read, but the outcomes are delivered 1"


def test_more_outcomes_than_rows_are_a_problem(tmp_path: Path) -> None:
    assert "do not add up" in write(tmp_path, [delivered(1), delivered(2)], read=1).problems()[0]


@pytest.mark.parametrize(
    ("outcome", "counts_as_failure"),
    [
        (Outcome.INVALID, True),
        (Outcome.REJECTED, True),
        (Outcome.FAILED, True),
        (Outcome.SUPPRESSED, False),
        (Outcome.UNCHANGED, False),
        (Outcome.PLANNED, False),
    ],
)
def test_a_failure_share_above_the_allowed_one_is_a_problem_that_names_the_reasons(
    tmp_path: Path, outcome: Outcome, counts_as_failure: bool
) -> None:
    results = [*map(delivered, range(93)), *(RowResult(key(f"bad-{n}"), outcome, "some_code") for n in range(7))]
    problems = write(tmp_path, results, read=100).problems()
    if counts_as_failure:
        assert problems == [
            "7 of 100 rows were not delivered, more than the share of 5.0% the sync allows; "
            f"top reasons: {outcome} some_code (7)"
        ]
    else:
        assert problems == []


def test_a_dry_run_predicts_the_failure_and_does_not_fail(tmp_path: Path) -> None:
    planned = [RowResult(key(n), Outcome.PLANNED, "new") for n in range(93)]
    results = [*planned, *(RowResult(key(f"bad-{n}"), Outcome.INVALID, "some_code") for n in range(7))]
    report = write(tmp_path, results, read=100, dry_run=True)
    assert report.problems() == []
    assert report.prediction()["problems"] == [
        "7 of 100 rows would not be delivered, more than the share of 5.0% the sync allows"
    ]
    assert write(tmp_path, planned, read=93, dry_run=True).prediction()["problems"] == []
    assert write(tmp_path, planned, read=94, dry_run=True).problems() != []


def test_exactly_the_allowed_share_is_fine(tmp_path: Path) -> None:
    results = [*map(delivered, range(95)), *(RowResult(key(f"b{n}"), Outcome.INVALID, "x") for n in range(5))]
    assert write(tmp_path, results, read=100).problems() == []


def test_partial_and_total_failures_are_told_apart(tmp_path: Path) -> None:
    results = [
        delivered(1),
        RowResult.of_calls(key("partial"), [UPDATED, REFUSED]),
        RowResult.of_calls(key("total"), [CallResult("user_update", Outcome.FAILED, "http_503", 503, 3)]),
        RowResult(key("invalid"), Outcome.INVALID, "email_malformed"),
    ]
    write(tmp_path, results, read=4)
    totals = read_json(tmp_path)["totals"]
    assert totals == {
        "total_users": 4,
        "successful": 1,
        "partial_failures": 1,
        "total_failures": 2,
        "read": 4,
        "delivered": 1,
        "unchanged": 0,
        "invalid": 1,
        "rejected": 1,
        "suppressed": 0,
        "failed": 1,
    }


def test_a_record_tells_the_outcome_of_each_call(tmp_path: Path) -> None:
    write(tmp_path, [RowResult.of_calls(key("partial"), [UPDATED, REFUSED])], read=1)
    (record,) = read_json(tmp_path)["records"]
    assert record["outcome"] == "rejected"
    assert record["reason"] == "BadParams"
    assert record["calls"]["user_update"]["outcome"] == "delivered"
    assert record["calls"]["event_track"] == {
        "outcome": "rejected",
        "status": 400,
        "reason": "BadParams",
        "tries": 1,
        "request_id": None,
    }


def test_the_json_has_every_bad_row_and_a_thousand_good_ones_and_the_parquet_all(tmp_path: Path) -> None:
    good, bad = MOST_DELIVERED_ROWS + 500, 1200
    results = [*map(delivered, range(good)), *(RowResult(key(f"b{n}"), Outcome.INVALID, "x") for n in range(bad))]
    write(tmp_path, results, read=good + bad)
    records = read_json(tmp_path)["records"]
    assert sum(record["outcome"] == "invalid" for record in records) == bad
    assert sum(record["outcome"] == "delivered" for record in records) == MOST_DELIVERED_ROWS
    assert pq.read_metadata(tmp_path / "results.parquet").num_rows == good + bad


def test_an_empty_run_is_a_fine_run(tmp_path: Path) -> None:
    assert write(tmp_path, [], read=0).problems() == []
    assert read_json(tmp_path)["records"] == []


def test_results_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    written = [delivered(1), RowResult("k", Outcome.INVALID, "x"), RowResult.of_calls("p", [UPDATED, REFUSED])]
    target = UPath(tmp_path / "r.parquet")
    with writing_results(target) as writer:
        for result in written:
            writer.add(result)
    assert list(read_results(target)) == written


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but not really"])
def test_missing_or_damaged_results_say_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    target = UPath(tmp_path / "r.parquet")
    if content is not None:
        target.write_bytes(content)
    with pytest.raises(StagingError, match="clear the deliver task to make them again"):
        list(read_results(target))


def test_results_of_a_delivery_that_crashed_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), writing_results(UPath(tmp_path / "r.parquet")) as writer:
        writer.add(delivered(1))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_sum_rule_counts_every_outcome_once() -> None:
    assert add_up(3, {"delivered": 1, "invalid": 2})
    assert not add_up(3, {"delivered": 1, "invalid": 1})


def test_a_key_that_is_not_unique_is_a_problem(tmp_path: Path) -> None:
    (problem,) = write(tmp_path, [delivered(1), delivered(1), delivered(2)], read=3).problems()
    assert problem.startswith("1 rows have the key of another row")
