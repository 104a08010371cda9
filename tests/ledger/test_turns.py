"""Whose turn it is to send the rows of a sync: one run's at a time, and never for long after it died."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.turns import Turn
from tests.ledger.processes import results

NOW = 1_768_300_000.0


def take(ledger: Ledger, run: str, at: float = 0.0, *, sync: str = "customers", dag: str = "daily") -> Turn | None:
    return ledger.turns.take(sync, dag, run, 300.0, now=NOW + at)


@pytest.mark.parametrize(
    ("sync", "dag", "run", "seconds", "message"),
    [
        ("", "daily", "one", 1.0, "the sync has 0 characters"),
        ("customers", "d" * 251, "one", 1.0, "the DAG has 251 characters"),
        ("customers", "daily", " one", 1.0, "the run has 4 characters"),
        ("customers", "daily", "one", 0.0, "a turn of 0.0 s, expected more than 0"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    ledger: Ledger, sync: str, dag: str, run: str, seconds: float, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ledger.turns.take(sync, dag, run, seconds)


def test_a_second_run_is_told_whose_turn_it_is(ledger: Ledger) -> None:
    assert take(ledger, "one") is None
    assert take(ledger, "two", 299) == Turn("daily", "one", datetime.fromtimestamp(NOW + 300, UTC))
    assert take(ledger, "one", 299, dag="another") is not None


def test_a_run_goes_on_as_long_as_it_says_so(ledger: Ledger) -> None:
    for at in (0, 200, 400, 600):
        assert take(ledger, "one", at) is None
    assert take(ledger, "two", 899) is not None


def test_a_run_that_died_loses_its_turn_and_may_have_another(ledger: Ledger) -> None:
    take(ledger, "one")
    assert take(ledger, "two", 300) is None
    assert take(ledger, "one", 301) == Turn("daily", "two", datetime.fromtimestamp(NOW + 600, UTC))
    assert take(ledger, "one", 600) is None


def test_the_next_run_begins_when_one_gives_its_turn_back(ledger: Ledger) -> None:
    take(ledger, "one")
    assert not ledger.turns.give_back("customers", "daily", "two")
    assert take(ledger, "two", 1) is not None
    assert ledger.turns.give_back("customers", "daily", "one")
    assert not ledger.turns.give_back("customers", "daily", "one")
    assert take(ledger, "two", 1) is None


def test_syncs_have_turns_of_their_own(ledger: Ledger) -> None:
    assert take(ledger, "one") is None
    assert take(ledger, "two", sync="orders") is None


def test_of_many_that_begin_at_once_one_has_the_turn(url: str) -> None:
    taken = results([("turn", url, number) for number in range(8)])
    assert sorted(taken) == [[False]] * 7 + [[True]]
