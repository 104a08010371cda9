"""Row states after `settle`: what the destination holds, whichever attempt is settled first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import timedelta

import pytest

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import Marked, RowState
from reverse_etl.ledger.settling import CALLS_PER_TRANSACTION
from tests.ledger.processes import results
from tests.ledger.samples import FINGERPRINT, START, TRACK, UPDATE, Clock, contents, delivered, failed, key, query, ref
from tests.ledger.samples import rejected as refused

OTHER = b"another version."
MINUTE = timedelta(minutes=1)


def suppressed(name: object) -> Marked:
    return Marked(key(name), UPDATE, Outcome.SUPPRESSED, "ForgottenUserError", 400, 1)


def unchanged(name: object) -> Marked:
    return delivered(name)._replace(outcome=Outcome.UNCHANGED)


def invalid(name: object) -> Marked:
    return Marked(key(name), "", Outcome.INVALID, "email_malformed")


def state(ledger: Ledger, name: object = "anna") -> RowState | None:
    return ledger.states("page_views", [key(name)]).get((key(name), UPDATE))


@pytest.mark.parametrize("marked", [[], [unchanged("anna"), invalid("anna")]])
def test_without_a_try_there_is_nothing_to_settle(ledger: Ledger, url: str, marked: Sequence[Marked]) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, marked)
    attempt.mark(1, [delivered("bert")])
    attempt.settle(0)
    assert query(url, "SELECT * FROM row_states") == []


@pytest.mark.parametrize("marked", [failed("anna"), refused("anna"), suppressed("anna")])
def test_a_call_never_delivered_has_no_state(ledger: Ledger, marked: Marked) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [marked])
    attempt.settle(0)
    assert ledger.states("page_views", [key("anna")]) == {}


def test_marks_have_no_state_until_their_batch_is_settled(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [delivered("anna")])
    attempt.mark(1, [delivered("bert")])
    assert state(ledger) is None
    attempt.settle(0)
    assert state(ledger) == RowState(FINGERPRINT, START, Outcome.DELIVERED)
    assert state(ledger, "bert") is None


def test_the_state_of_a_call_is_that_of_its_last_delivery(ledger: Ledger, clock: Clock) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [delivered("anna"), delivered("anna", TRACK, None), failed("bert"), refused("carl")])
    attempt.settle(0)
    clock.now += 60
    again = ledger.begin(ref(attempt=1))
    again.mark(0, [failed("anna"), delivered("anna", TRACK, OTHER)])
    again.settle(0)
    asked = [key(name) for name in ("anna", "bert", "carl", "dora")]
    assert ledger.states("page_views", asked) == {
        (key("anna"), UPDATE): RowState(FINGERPRINT, START, Outcome.FAILED),
        (key("anna"), TRACK): RowState(OTHER, START + MINUTE, Outcome.DELIVERED),
    }
    assert ledger.states("another_sync", asked) == {}


def test_an_unchanged_row_keeps_its_state(ledger: Ledger, clock: Clock) -> None:
    for run, marked in enumerate((delivered("anna"), unchanged("anna"))):
        attempt = ledger.begin(ref(run_id=f"run {run}"))
        attempt.mark(0, [marked])
        attempt.settle(0)
        clock.now += 60
    assert state(ledger) == RowState(FINGERPRINT, START, Outcome.DELIVERED)


TRIES = [delivered("anna"), failed("anna"), delivered("anna", fingerprint=OTHER), suppressed("anna")]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_order_in_which_attempts_are_settled_does_not_matter(ledger: Ledger, clock: Clock, count: int) -> None:
    """Attempts under way at once: nobody knows which call came last, so no fingerprint is proof of anything."""
    expected = {
        2: RowState(None, START, Outcome.FAILED),
        3: RowState(None, START + 2 * MINUTE, Outcome.DELIVERED),
        4: RowState(None, START + 2 * MINUTE, Outcome.SUPPRESSED),
    }[count]
    orders = list(itertools.permutations(range(count)))
    for batch, _ in enumerate(orders):
        clock.now = START.timestamp()
        for number in range(count):
            ledger.begin(ref(attempt=number)).mark(batch, [TRIES[number]._replace(key=key(batch))])
            clock.now += 60
    for batch, order in enumerate(orders):
        for number in order:
            ledger.begin(ref(attempt=number)).settle(batch)
    assert [state(ledger, batch) for batch, _ in enumerate(orders)] == [expected] * len(orders)


def test_settling_again_changes_nothing(ledger: Ledger, url: str) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [delivered("anna"), failed("bert"), refused("carl"), suppressed("dora")])
    attempt.settle(0)
    before = contents(url)
    attempt.settle(0)
    assert contents(url) == before


@pytest.mark.parametrize("rows", [1, CALLS_PER_TRANSACTION // 2, 2 * CALLS_PER_TRANSACTION + 1])
def test_every_call_of_a_batch_is_settled(ledger: Ledger, rows: int) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [delivered(number, call) for number in range(rows) for call in (UPDATE, TRACK)])
    attempt.settle(0)
    assert len(ledger.states("page_views", [key(number) for number in range(rows)])) == 2 * rows


def test_several_processes_may_settle_the_same_rows_at_once(ledger: Ledger, url: str) -> None:
    results([("mark", url, batch, 1_500, 2) for batch in range(4)])
    assert query(url, "SELECT COUNT(delivered_at), COUNT(*) FROM row_states") == [(3_000, 6_000)]


def test_a_key_that_is_in_a_batch_twice_has_the_state_of_the_later_row(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [delivered("anna"), delivered("anna", fingerprint=OTHER)._replace(place=1)])
    attempt.settle(0)
    assert state(ledger) == RowState(OTHER, START, Outcome.DELIVERED)
    assert len(attempt.outcomes(0)) == 2
