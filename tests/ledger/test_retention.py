from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import Purged
from reverse_etl.ledger.retention import KEYS_PER_SCAN
from tests.ledger.samples import TRACK, UPDATE, Clock, contents, delivered, key, query, ref, rejected

DAY = timedelta(days=1)


@pytest.mark.parametrize("ages", [(-DAY, None), (DAY, -DAY)])
def test_a_negative_age_is_refused(sqlite_ledger: Ledger, ages: tuple[timedelta, timedelta | None]) -> None:
    with pytest.raises(ConfigurationError, match="expected an age of 0 or more"):
        sqlite_ledger.purge(ages[0], states_older_than=ages[1])


def test_an_empty_ledger_has_nothing_to_purge(ledger: Ledger) -> None:
    assert ledger.purge(timedelta(0), states_older_than=timedelta(0)) == Purged()
    assert ledger.purge_person({}) == ledger.purge_person({"page_views": [key("anna")]}) == Purged()


def test_what_is_old_goes_and_the_rest_stays(ledger: Ledger, url: str, clock: Clock) -> None:
    old = ledger.begin(ref(run_id="old"))
    old.mark(0, [delivered("anna"), delivered("bert")])
    old.mark(1, [rejected("carl"), delivered("dora")])
    old.settle(0)
    old.settle(1)
    ledger.begin(ref(run_id="older, empty"))
    clock.now += timedelta(days=10).total_seconds()
    new = ledger.begin(ref(run_id="new"))
    new.mark(0, [delivered("anna"), rejected("emil")])
    new.settle(0)
    assert ledger.purge(10 * DAY) == Purged()
    assert ledger.purge(9 * DAY) == Purged(runs=2, outcomes=4, quarantine=1)
    assert query(url, "SELECT run_id FROM runs") == [("new",)]
    assert len(new.outcomes(0)) == 2
    assert len(ledger.states("page_views", [key(name) for name in ("anna", "bert", "dora")])) == 3
    assert ledger.purge(9 * DAY, states_older_than=9 * DAY) == Purged(row_states=3)
    assert set(ledger.states("page_views", [key("anna"), key("bert")])) == {(key("anna"), UPDATE)}


def test_a_run_named_in_quarantine_is_kept_as_long(ledger: Ledger, url: str, clock: Clock) -> None:
    attempt = ledger.begin(ref(run_id="long"))
    clock.now += timedelta(days=10).total_seconds()
    attempt.mark(0, [rejected("anna")])
    assert ledger.purge(9 * DAY) == Purged(outcomes=1)
    assert [call.run_id for call in ledger.quarantine.calls("page_views")] == ["long"]
    query(url, "DELETE FROM runs")
    assert [call.run_id for call in ledger.quarantine.calls("page_views")] == [""]


def test_many_keys_are_purged_from_every_batch_that_has_them(ledger: Ledger, url: str) -> None:
    attempt = ledger.begin(ref())
    names = range(1_300)
    for batch in range(2):
        attempt.mark(batch, [delivered(name) for name in names])
        attempt.settle(batch)
    purged = ledger.purge_person({"page_views": [key(name) for name in names[:1_200]]})
    assert purged == Purged(outcomes=2_400, row_states=1_200)
    assert [len(attempt.outcomes(batch)) for batch in range(2)] == [100, 100]
    attempt.settle(0)
    assert query(url, "SELECT COUNT(*) FROM row_states") == [(100,)]


def test_nothing_is_left_of_a_person(ledger: Ledger, url: str) -> None:
    for sync in ("page_views", "other"):
        for attempt in range(2):
            marked = [delivered("anna"), rejected("anna", TRACK), delivered("bert"), rejected("bert", TRACK)]
            begun = ledger.begin(ref(sync=sync, attempt=attempt))
            begun.mark(attempt, marked)
            begun.settle(attempt)
    keys = [*(key(number) for number in range(KEYS_PER_SCAN)), key("anna")]
    removed = ledger.purge_person({"page_views": keys, "other": keys})
    assert removed == Purged(outcomes=8, row_states=4, quarantine=2)
    left = contents(url)
    assert key("anna") not in repr(left)
    assert {name: len(rows) for name, rows in left.items()} == {
        "runs": 4,
        "outcomes": 8,
        "row_states": 4,
        "quarantine": 2,
        "rate_budgets": 0,
        "privacy_actions": 0,
    }


def test_the_same_key_in_another_sync_is_somebody_else(ledger: Ledger) -> None:
    for sync in ("page_views", "other"):
        begun = ledger.begin(ref(sync=sync))
        begun.mark(0, [delivered("anna"), rejected("anna", TRACK)])
        begun.settle(0)
    person = {"page_views": [key("anna")]}
    assert ledger.syncs() == ["other", "page_views"]
    assert ledger.count_person(person) == ledger.purge_person(person) == Purged(outcomes=2, row_states=2, quarantine=1)
    assert ledger.count_person(person) == Purged()
    assert ledger.count_person({"other": [key("anna")]}) == Purged(outcomes=2, row_states=2, quarantine=1)


def test_two_people_purged_at_once_are_both_gone(ledger: Ledger, url: str) -> None:
    """Their calls share the marks, which both purges have read before either writes."""
    attempt = ledger.begin(ref())
    for _ in range(40):
        attempt.mark(0, [delivered(name) for name in ("anna", "bert", "carl")])
    ready = Barrier(2)

    def purge(name: str) -> int:
        with Ledger.open(url) as own:
            ready.wait()
            return own.purge_person({"page_views": [key(name)]}).outcomes

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(purge, ["anna", "bert"])) == [40, 40]
    assert [row for (row,) in query(url, "SELECT DISTINCT row_key FROM outcomes")] == [key("carl")]
    assert query(url, "SELECT SUM(calls) FROM marks") == [(40,)]
