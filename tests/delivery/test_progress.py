"""The line in the log that says how far a batch is and when it ends."""

from __future__ import annotations

import pytest

from reverse_etl.delivery.progress import Progress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lines_of(rows: int, arrivals: list[float], budget: str = "") -> list[str]:
    """Return what is said when a row is done at each of these seconds after the start."""
    said: list[str] = []
    clock = Clock()
    progress = Progress(rows, said.append, lambda: budget, clock=clock)
    for seconds in arrivals:
        clock.now = 1000.0 + seconds
        progress.step()
    return said


@pytest.mark.parametrize("arrivals", [[], [0.1], [9.9], [0.0, 5.0, 9.99]])
def test_a_short_batch_says_nothing(arrivals: list[float]) -> None:
    assert lines_of(3, arrivals) == []


def test_a_line_comes_every_ten_seconds_with_rate_budget_and_estimate() -> None:
    arrivals = [number / 10 for number in range(251)]
    assert lines_of(1000, arrivals, "half of the limit") == [
        "101 of 1,000 rows, 10 rows/s, half of the limit, about 90 s left",
        "201 of 1,000 rows, 10 rows/s, half of the limit, about 80 s left",
    ]


def test_a_late_first_row_says_that_work_goes_on_and_makes_no_estimate() -> None:
    assert lines_of(1_000_000, [60.0]) == ["1 of 1,000,000 rows, the first after 60 s, estimate follows"]


@pytest.mark.parametrize("late", [9.999, 60.0, 600.0])
def test_what_came_before_the_first_row_is_not_in_the_rate(late: float) -> None:
    *_, last = lines_of(1001, [late + number / 10 for number in range(101)])
    assert last == "101 of 1,001 rows, 10 rows/s, about 90 s left"


def test_rows_that_are_all_done_at_once_have_no_absurd_rate() -> None:
    assert lines_of(2000, [60.0] * 1000) == ["1 of 2,000 rows, the first after 60 s, estimate follows"]
    *_, last = lines_of(2000, [60.0] * 1000 + [80.0] * 1000)
    assert last == "1,001 of 2,000 rows, 50 rows/s, about 20 s left"
