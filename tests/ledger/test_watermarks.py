"""The watermark of a sync: only a run that read on from it moves it, only forward."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.incremental import Incremental, Position
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.watermarks import Read, Reader, Watermark
from tests.ledger.processes import results
from tests.ledger.samples import START, Clock, query

INCREMENTAL = Incremental("updated_at", "id", timedelta(minutes=10))
SYNC = "customers"


def place(number: int, key: int = 1) -> Position:
    return Position(datetime(2026, 1, 13, 8, tzinfo=UTC) + timedelta(microseconds=number), key)


def reader(run: str = "one") -> Reader:
    return Reader("customers", run, SYNC)


def ran(ledger: Ledger, run: str, last: Position | None, delivered: Position | None) -> bool:
    ledger.watermarks.begin(reader(run), INCREMENTAL)
    ledger.watermarks.end(reader(run), last)
    return delivered is not None and ledger.watermarks.move(reader(run), delivered)


def at(ledger: Ledger) -> Position | None:
    return ledger.watermarks.position(SYNC, INCREMENTAL)


def test_a_run_the_ledger_does_not_know_moves_nothing(ledger: Ledger) -> None:
    with pytest.raises(ConfigurationError, match="knows nothing of what this run read"):
        ledger.watermarks.move(reader(), place(1))
    ledger.watermarks.begin(reader(), INCREMENTAL)
    with pytest.raises(ConfigurationError, match="clear the extract task to read again"):
        ledger.watermarks.move(reader("another"), place(1))
    assert at(ledger) is None


@pytest.mark.parametrize("column", ["column", "key"])
def test_a_watermark_of_other_columns_is_refused(ledger: Ledger, column: str) -> None:
    ran(ledger, "one", place(5), place(5))
    facts = {"column": "updated_at", "key": "id", "overlap": timedelta(0)} | {column: "another"}
    other = Incremental(**facts)  # type: ignore[arg-type]  # the values are as the fields want them
    with pytest.raises(ConfigurationError, match="of the columns updated_at, id, but the sync now reads by .*another"):
        ledger.watermarks.begin(reader("two"), other)
    with pytest.raises(ConfigurationError, match=r"reverse-etl watermark set\|reset customers"):
        ledger.watermarks.position(SYNC, other)
    ledger.watermarks.set(SYNC, other, place(3), "anna")
    assert ledger.watermarks.begin(reader("two"), other) == Read(place(3), None)


def test_each_run_reads_on_from_where_the_last_ended(ledger: Ledger, clock: Clock) -> None:
    assert ledger.watermarks.get(SYNC) is None
    assert ledger.watermarks.begin(reader(), INCREMENTAL) == Read(None, None)
    assert ledger.watermarks.get(SYNC) == Watermark(SYNC, "updated_at", "id", None, None, None)
    assert ran(ledger, "one", place(5, 2**64 - 1), place(5, 2**64 - 1))
    expected = Watermark(SYNC, "updated_at", "id", place(5, 2**64 - 1), START, "one")
    assert ledger.watermarks.get(SYNC) == expected
    assert ledger.watermarks.begin(reader("two"), INCREMENTAL) == Read(place(5, 2**64 - 1), None)


def test_microseconds_equal_times_and_keys_below_zero_are_told_apart(ledger: Ledger) -> None:
    assert ran(ledger, "one", place(5, -7), place(5, -7))
    assert ran(ledger, "two", place(5, -6), place(5, -6))
    assert ran(ledger, "three", place(5, 10), place(5, 9))
    assert ran(ledger, "four", place(6, -100), place(6, -100))
    assert at(ledger) == place(6, -100)


def test_a_run_without_rows_or_with_old_ones_moves_nothing(ledger: Ledger) -> None:
    assert ran(ledger, "one", place(5), place(5))
    assert not ran(ledger, "two", None, None)
    assert not ran(ledger, "three", place(4), place(4))
    assert not ran(ledger, "four", place(5), place(5))
    assert at(ledger) == place(5)


def test_a_cleared_run_reads_what_it_read_before_and_does_not_take_back(ledger: Ledger) -> None:
    ran(ledger, "one", place(5), place(5))
    ran(ledger, "two", place(9), place(9))
    assert ledger.watermarks.begin(reader("one"), INCREMENTAL) == Read(None, place(5))
    assert ledger.watermarks.begin(reader("two"), INCREMENTAL) == Read(place(5), place(9))
    assert not ran(ledger, "one", place(5), place(5))
    assert at(ledger) == place(9)


def test_a_cleared_run_whose_failed_rows_are_delivered_moves_on(ledger: Ledger) -> None:
    assert ran(ledger, "one", place(9), place(3))
    assert ran(ledger, "one", place(9), place(9))
    assert at(ledger) == place(9)


def test_of_two_runs_at_once_the_further_one_counts(ledger: Ledger) -> None:
    for run in ("fast", "slow"):
        ledger.watermarks.begin(reader(run), INCREMENTAL)
    assert ledger.watermarks.move(reader("fast"), place(9))
    assert not ledger.watermarks.move(reader("slow"), place(5))
    assert ledger.watermarks.move(reader("slow"), place(10))
    assert at(ledger) == place(10)


def test_what_somebody_sets_is_not_moved_by_a_run_that_began_behind_it(ledger: Ledger) -> None:
    ran(ledger, "one", place(5), place(5))
    ledger.watermarks.begin(reader("two"), INCREMENTAL)
    ledger.watermarks.set(SYNC, INCREMENTAL, place(2), "anna")
    assert not ledger.watermarks.move(reader("two"), place(9))
    assert ledger.watermarks.begin(reader("three"), INCREMENTAL) == Read(place(2), None)
    ledger.watermarks.set(SYNC, INCREMENTAL, None, "anna")
    assert not ledger.watermarks.move(reader("two"), place(9))
    assert at(ledger) is None
    found = ledger.watermarks.get(SYNC)
    assert found is not None
    assert found.moved_by == "anna"


def test_what_runs_read_is_forgotten_with_age_and_the_watermark_is_not(ledger: Ledger, url: str, clock: Clock) -> None:
    ran(ledger, "old", place(5), place(5))
    clock.now += timedelta(days=10).total_seconds()
    ran(ledger, "new", place(6), place(6))
    ledger.purge(timedelta(days=5))
    assert query(url, "SELECT run_id FROM watermark_reads") == [("new",)]
    assert at(ledger) == place(6)


def test_syncs_have_their_own(ledger: Ledger) -> None:
    ran(ledger, "one", place(5), place(5))
    assert ledger.watermarks.begin(Reader("customers", "one", "orders"), INCREMENTAL) == Read(None, None)
    assert ledger.watermarks.position("orders", INCREMENTAL) is None


def test_processes_at_once_leave_the_furthest_and_lose_no_run(url: str) -> None:
    ends = random.Random(7).sample(range(1, 1000), 8)
    moved = results([("watermark", url, number, end) for number, end in enumerate(ends)])
    assert [answers[0] for answers in moved] == [True] * 8
    with Ledger.open(url) as ledger:
        assert at(ledger) == place(max(ends))
    assert query(url, "SELECT COUNT(*) FROM watermark_reads") == [(8,)]
