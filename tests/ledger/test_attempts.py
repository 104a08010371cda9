from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import Marked, RunRef
from tests.ledger.processes import results
from tests.ledger.samples import (
    FINGERPRINT,
    TRACK,
    UPDATE,
    Clock,
    contents,
    delivered,
    failed,
    key,
    query,
    ref,
    rejected,
)

OTHER = b"another version."


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sync", ""),
        ("sync", "x" * 191),
        ("run_id", "two\nlines"),
        ("dag_id", " padded "),
        ("attempt", -1),
        ("window_days", 0),
    ],
)
def test_a_run_no_database_can_hold_is_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"RunRef.{field}"):
        ref(**{field: value})


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (delivered("anna")._replace(key="short"), "a hashed key has 5 characters, expected 32"),
        (delivered("anna", fingerprint=b"short"), "a fingerprint has 5 bytes, expected 16"),
        (delivered("anna")._replace(outcome=Outcome.PLANNED), "a dry run records nothing"),
        (delivered("anna")._replace(call="two\nlines"), "a call has 9 characters"),
    ],
)
def test_a_result_the_ledger_cannot_hold_is_refused_and_none_is_recorded(
    sqlite_ledger: Ledger, bad: Marked, words: str
) -> None:
    attempt = sqlite_ledger.begin(ref())
    with pytest.raises(ConfigurationError, match=words):
        attempt.mark(0, [delivered("bert"), bad])
    assert attempt.outcomes(0) == []


def test_an_attempt_recorded_for_another_day_or_window_is_refused(ledger: Ledger) -> None:
    ledger.begin(ref())
    with pytest.raises(ConfigurationError, match="recorded for 2026-01-13 and 7 days of rows, not 2026-01-14 and 7;"):
        ledger.begin(ref(day=date(2026, 1, 14)))
    with pytest.raises(ConfigurationError, match="recorded for 2026-01-13 and 7 days of rows, not 2026-01-13 and 8;"):
        ledger.begin(ref(window_days=8))


def test_the_same_attempt_is_recorded_once(ledger: Ledger, url: str) -> None:
    assert ledger.begin(ref()).id == ledger.begin(ref()).id
    others = [ref(attempt=1), ref(sync="page_views "[:-1] + "2"), ref(run_id="Manual__1"), ref(dag_id="other")]
    assert len({ledger.begin(other).id for other in [ref(), *others]}) == 5
    assert query(url, "SELECT COUNT(*) FROM runs") == [(5,)]


def test_nothing_marked_is_nothing_done(ledger: Ledger, url: str) -> None:
    attempt = ledger.begin(ref())
    before = contents(url)
    attempt.mark(0, [])
    assert contents(url) == before
    assert attempt.confirmed(0) == {}
    assert ledger.states("page_views", []) == {}


def test_only_explicit_deliveries_of_this_attempt_and_batch_are_confirmed(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [delivered("anna"), delivered("anna", TRACK), delivered("bert"), failed("bert", TRACK)])
    attempt.mark(0, [rejected("carl"), delivered("dora")._replace(outcome=Outcome.UNCHANGED)])
    attempt.mark(1, [delivered("emil")])
    assert attempt.confirmed(0) == {key("anna"): {UPDATE, TRACK}, key("bert"): {UPDATE}}
    assert ledger.begin(ref()).confirmed(1) == {key("emil"): {UPDATE}}
    assert ledger.begin(ref(attempt=1)).confirmed(0) == {}
    assert ledger.begin(ref(sync="other")).confirmed(0) == {}


def test_what_was_marked_can_be_read_again(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    marked = [
        delivered("anna", fingerprint=None),
        delivered("anna", TRACK, bytes(16)),
        rejected("bert"),
        failed("carl", fingerprint=OTHER),
        Marked(key("dora"), "", Outcome.INVALID, "key_missing"),
        Marked(key("emil"), UPDATE, Outcome.SUPPRESSED, "ForgottenUserError", 400, 1, None),
    ]
    attempt.mark(0, marked)
    assert attempt.outcomes(0) == sorted(marked)


def test_a_repeated_mark_changes_nothing(ledger: Ledger, url: str) -> None:
    attempt = ledger.begin(ref())
    marked = [delivered("anna"), delivered("anna", TRACK), rejected("bert"), failed("carl")]
    attempt.mark(0, marked)
    before = attempt.outcomes(0), query(url, "SELECT * FROM quarantine")
    attempt.mark(0, marked)
    ledger.begin(ref()).mark(0, list(reversed(marked)))
    assert (attempt.outcomes(0), query(url, "SELECT * FROM quarantine")) == before


def test_a_delivery_stays_whatever_comes_after_it(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [failed("anna"), delivered("bert"), failed("bert")])
    attempt.mark(0, [delivered("anna")])
    attempt.mark(0, [failed("anna"), rejected("bert")])
    assert attempt.outcomes(0) == sorted([delivered("anna", fingerprint=None), delivered("bert", fingerprint=None)])


def test_a_later_failure_takes_the_place_of_an_earlier_one(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [failed("anna")])
    attempt.mark(0, [rejected("anna")])
    assert attempt.outcomes(0) == [rejected("anna")]


def test_a_delivery_of_another_version_takes_the_place_of_the_first(ledger: Ledger, clock: Clock) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [delivered("anna"), delivered("bert"), delivered("bert", fingerprint=OTHER)])
    clock.now += 60
    attempt.mark(0, [delivered("anna", fingerprint=OTHER)])
    assert attempt.outcomes(0) == sorted(delivered(name, fingerprint=OTHER) for name in ("anna", "bert"))


@pytest.mark.parametrize("after", [failed, rejected])
@pytest.mark.parametrize("at_once", [True, False])
def test_an_unconfirmed_other_version_makes_the_fingerprint_of_a_delivery_unknown(
    ledger: Ledger, after: Callable[..., Marked], at_once: bool
) -> None:
    attempt = ledger.begin(ref())
    first = [delivered("anna"), delivered("bert")]
    then = [after("anna")._replace(fingerprint=OTHER), after("bert")._replace(fingerprint=FINGERPRINT)]
    for marked in [first + then] if at_once else [first, then]:
        attempt.mark(0, marked)
    assert attempt.outcomes(0) == sorted([delivered("anna", fingerprint=None), delivered("bert")])


def test_calls_sent_again_after_a_clear_are_counted(ledger: Ledger) -> None:
    first, second, third = (ledger.begin(ref(attempt=number)) for number in range(3))
    first.mark(0, [delivered("anna"), delivered("anna", TRACK), failed("bert")])
    second.mark(0, [delivered("anna"), delivered("bert"), delivered("carl")])
    third.mark(0, [delivered("anna"), delivered("anna", TRACK), delivered("bert"), failed("carl"), delivered("dora")])
    ledger.begin(ref(run_id="another")).mark(0, [delivered("anna")])
    assert [attempt.resent(0) for attempt in (first, second, third)] == [0, 1, 3]
    assert third.resent(1) == 0


def test_totals_are_recorded_and_the_last_ones_count(ledger: Ledger, url: str, clock: Clock) -> None:
    attempt = ledger.begin(ref())
    attempt.finish(5, {Outcome.DELIVERED: 5})
    clock.now += 1.5
    attempt.finish(7, {Outcome.DELIVERED: 4, Outcome.FAILED: 3})
    columns = "rows_read, delivered, unchanged, invalid, rejected, suppressed, failed, finished - started"
    assert query(url, f"SELECT {columns} FROM runs") == [(7, 4, 0, 0, 0, 0, 3, 1_500_000)]


@pytest.mark.parametrize("sync", ["Käufe 🛒", "Kaufe 🛒", "käufe 🛒", "購読者", "sync%s{0}'\"\\", "x" * 190])
def test_any_printable_name_is_kept_as_it_is(ledger: Ledger, sync: str) -> None:
    ledger.begin(ref(sync="käufe 🛍")).mark(0, [rejected("anna")])
    run = ref(sync=sync, run_id="manual__2026-01-13T00:00:00+00:00 é", dag_id="dag.ünïcode")
    attempt = ledger.begin(run)
    attempt.mark(0, [rejected("anna", code="naïve 🛒 %s"), delivered("bert", "événement {x}")])
    [found] = ledger.quarantine.calls(sync)
    assert (found.sync, found.code, found.run_id, found.dag_id) == (sync, "naïve 🛒 %s", run.run_id, run.dag_id)
    assert attempt.confirmed(0) == {key("bert"): {"événement {x}"}}
    attempt.settle(0)
    assert list(ledger.states(sync, [key("bert")])) == [(key("bert"), "événement {x}")]


def test_codes_and_request_ids_from_outside_are_made_to_fit(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    strange = Marked(key("anna"), UPDATE, Outcome.REJECTED, "bad\x00code\n" + "x" * 200, 400, 1, "id\x00" + "y" * 100)
    attempt.mark(0, [strange, failed("bert")._replace(code=" \n ")])
    found = {result.key: result for result in attempt.outcomes(0)}
    assert found[key("anna")].code == "bad?code?" + "x" * 91
    assert found[key("anna")].request_id == "id?" + "y" * 61
    assert found[key("bert")].code == "?"


def test_more_rows_than_fit_one_statement_are_one_mark(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [delivered(number) for number in range(5_500)] + [failed(number, TRACK) for number in range(700)])
    assert len(attempt.confirmed(0)) == 5_500
    assert len(attempt.outcomes(0)) == 6_200


def test_several_processes_may_mark_the_same_rows_at_once(ledger: Ledger, url: str) -> None:
    results([("mark", url, batch, 200, 4) for batch in range(4)])
    attempt = ledger.begin(ref())
    assert [len(attempt.confirmed(batch)) for batch in range(4)] == [800] * 4
    assert query(url, "SELECT COUNT(delivered_at), COUNT(*) FROM row_states") == [(800, 1600)]
    assert query(url, "SELECT COUNT(*), MIN(tries), MAX(tries) FROM quarantine") == [(800, 1, 1)]


def test_several_threads_may_use_one_ledger(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())

    def mark(number: int) -> None:
        attempt.mark(0, [delivered(f"{number}-{row}", f"call_{row % 7}") for row in range(50)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(mark, range(16)))
    assert len(attempt.confirmed(0)) == 800


CALLS = st.sampled_from([UPDATE, TRACK])
OUTCOMES = st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.PLANNED])
MARKS = st.lists(
    st.builds(
        Marked,
        st.sampled_from([key(name) for name in range(4)]),
        CALLS,
        OUTCOMES,
        st.just("x"),
        status=st.none(),
        tries=st.just(1),
        request_id=st.none(),
        fingerprint=st.none(),
        place=st.integers(0, 1),
    )
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(marks=MARKS, at_once=st.booleans())
def test_one_result_per_call_counts_and_a_delivery_wins(
    sqlite_ledger: Ledger, marks: Sequence[Marked], at_once: bool
) -> None:
    by_call: dict[tuple[str, str, int], list[Outcome]] = {}
    attempt = sqlite_ledger.begin(ref(run_id=uuid.uuid4().hex))
    for some in [marks] if at_once else [[mark] for mark in marks]:
        attempt.mark(0, some)
    for mark in marks:
        by_call.setdefault((mark.key, mark.call, mark.place), []).append(mark.outcome)
    expected = {
        call: Outcome.DELIVERED if Outcome.DELIVERED in outcomes else outcomes[-1] for call, outcomes in by_call.items()
    }
    kept = [((mark.key, mark.call, mark.place), mark.outcome) for mark in attempt.outcomes(0)]
    assert kept == sorted(expected.items())


def test_a_run_reference_is_a_value() -> None:
    assert ref() == RunRef("page_views", "manual__1", "page_views", 0, date(2026, 1, 13), 7)


def test_marks_are_numbered_beyond_32_bits(ledger: Ledger, url: str) -> None:
    """Call by call, with some millions of rows a day, so many are given out within years."""
    attempt = ledger.begin(ref())
    attempt.mark(0, [failed("anna")])
    query(url, "UPDATE marks SET id = 4294967296")
    if url.startswith("postgresql"):
        query(url, "ALTER TABLE marks ALTER COLUMN id RESTART WITH 4294967297")
    attempt.mark(0, [delivered("anna")])
    assert [marked.outcome for marked in attempt.outcomes(0)] == [Outcome.DELIVERED]
    assert query(url, "SELECT COUNT(*) FROM marks WHERE id >= 4294967296") == [(2,)]
