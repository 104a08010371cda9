"""The rows of a sync the platform may hold, and forgetting those that were removed there."""

from __future__ import annotations

from datetime import timedelta

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.attempts import Attempt
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import WHOLE_ROW, Marked
from tests.ledger.samples import TRACK, UPDATE, Clock, delivered, failed, key, ref, rejected

SYNC = "page_views"


def known(ledger: Ledger, *, page: int = 50_000) -> dict[str, int]:
    return {hashed: epoch for rows in ledger.known_rows(SYNC).pages(page=page) for hashed, epoch in rows}


def proof(ledger: Ledger, *names: str) -> set[str]:
    """Return those of the rows that would count as unchanged if they were the same."""
    states = ledger.comparison(SYNC).states([key(name) for name in names])
    proven = {hashed for (hashed, _call), state in states.items() if state.is_proof}
    return {name for name in names if key(name) in proven}


def run(ledger: Ledger, run_id: str, *names: str) -> int:
    attempt = ledger.begin(ref(run_id=run_id))
    attempt.mark(0, [delivered(name, call) for name in names for call in (UPDATE, TRACK)])
    attempt.settle(0)
    return attempt.id


def test_a_sync_without_runs_has_no_rows(ledger: Ledger) -> None:
    assert known(ledger) == {}
    assert ledger.known_rows(SYNC).forget([], before=9) == 0
    assert ledger.known_rows(SYNC).forget([key("anna")], before=9) == 0


def test_delivered_rows_and_those_that_may_have_been_are_known_each_once(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [delivered("anna"), delivered("anna", TRACK), failed("bert"), rejected("carl")])
    attempt.settle(0)
    other = ledger.begin(ref(sync="other"))
    other.mark(0, [delivered("dora")])
    other.settle(0)
    assert set(known(ledger)) == {key("anna"), key("bert")}


def test_pages_of_any_size_give_every_row_in_order(ledger: Ledger) -> None:
    run(ledger, "one", *(f"p{number}" for number in range(10)))
    expected = sorted(key(f"p{number}") for number in range(10))
    for page in (1, 3, 5, 10, 11):
        assert list(known(ledger, page=page)) == expected


def test_a_batch_counts_from_its_close_on(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    attempt.open(0)
    attempt.mark(0, [delivered("anna")])
    assert known(ledger) == {}
    attempt.close(0, settle=False)
    assert set(known(ledger)) == {key("anna")}


def test_rows_another_run_delivered_meanwhile_are_told_apart_and_not_forgotten(ledger: Ledger) -> None:
    run(ledger, "one", "anna", "bert")
    reading = ledger.begin(ref(run_id="two")).id
    run(ledger, "three", "bert", "carl")
    epochs = known(ledger)
    assert epochs[key("anna")] < reading <= min(epochs[key("bert")], epochs[key("carl")])
    keys = [key(name) for name in ("anna", "bert", "carl", "nobody")]
    assert ledger.known_rows(SYNC).forget(keys, before=reading) == 2
    assert set(known(ledger)) == {key("bert"), key("carl")}
    assert ledger.known_rows(SYNC).forget(keys, before=reading) == 0
    assert proof(ledger, "anna", "bert", "carl") == set()


def test_a_doubted_row_stays_known_and_is_sent_when_it_comes_back(ledger: Ledger) -> None:
    run(ledger, "one", "anna", "bert")
    assert ledger.known_rows(SYNC).doubt([key("anna"), key("nobody")]) == 2
    assert set(known(ledger)) == {key("anna"), key("bert")}
    assert proof(ledger, "anna", "bert") == {"bert"}


def remove(ledger: Ledger, run_id: str, *names: str) -> None:
    """Remove rows as a run does that began before; what is sent in between is up to the test."""
    removal = ledger.begin(ref(run_id=run_id, sync=f"{SYNC}__removal"))
    ledger.known_rows(SYNC).forget([key(name) for name in names], before=removal.id)


def deliver(attempt: Attempt, *names: str) -> None:
    """Send and mark rows, and be cut off before the batch is closed."""
    attempt.open(0)
    attempt.mark(0, [delivered(name, call) for name in names for call in (UPDATE, TRACK)])


def test_what_was_sent_before_a_removal_is_no_proof_when_an_older_attempt_goes_on_after_it(ledger: Ledger) -> None:
    run(ledger, "zero", "anna", "bert")
    replay = ledger.begin(ref(run_id="replay"))
    deliver(replay, "anna", "bert")
    ledger.begin(ref(run_id="mirror"))
    remove(ledger, "mirror", "anna")
    replay.close(0)
    assert proof(ledger, "anna", "bert") == {"bert"}
    assert set(known(ledger)) == {key("anna"), key("bert")}
    assert run(ledger, "next", "anna")
    assert proof(ledger, "anna", "bert") == {"anna", "bert"}


def test_the_attempt_that_had_delivered_a_removed_row_does_not_bring_it_back(ledger: Ledger) -> None:
    first = ledger.begin(ref(run_id="one"))
    deliver(first, "anna")
    first.close(0)
    remove(ledger, "mirror", "anna")
    assert known(ledger) == {}
    first.close(0)
    assert proof(ledger, "anna") == set()


def test_what_was_sent_before_a_removal_began_is_forgotten_whoever_had_sent_it(ledger: Ledger) -> None:
    replay = ledger.begin(ref(run_id="replay"))
    ledger.begin(ref(run_id="mirror"))
    deliver(replay, "anna")
    replay.close(0)
    remove(ledger, "mirror", "anna")
    assert known(ledger) == {}


def test_what_was_sent_during_a_removal_stays_known_and_is_no_proof(ledger: Ledger) -> None:
    run(ledger, "zero", "anna", "bert", "carl")
    ledger.begin(ref(run_id="mirror"))
    ledger.begin(ref(run_id="mirror", sync=f"{SYNC}__removal"))
    replay = ledger.begin(ref(run_id="replay"))
    deliver(replay, "anna", "bert")
    replay.close(0)
    other = ledger.begin(ref(run_id="other"))
    deliver(other, "carl")
    remove(ledger, "mirror", "anna", "carl")
    other.close(0)
    assert proof(ledger, "anna", "bert", "carl") == {"bert"}
    assert set(known(ledger)) == {key("anna"), key("bert"), key("carl")}


def test_a_purge_by_age_takes_the_traces_of_rows_forgotten_before(ledger: Ledger, clock: Clock) -> None:
    run(ledger, "one", "anna", "bert")
    remove(ledger, "two", "anna")
    clock.now += timedelta(days=10).total_seconds()
    run(ledger, "three", "carl")
    remove(ledger, "four", "carl")
    assert ledger.purge(timedelta(days=11)).row_states == 0
    assert ledger.purge(timedelta(days=9)).row_states == 2
    assert set(known(ledger)) == {key("bert")}
    hashes = {name: key(name) for name in ("anna", "bert", "carl")}
    left = {name: ledger.count_person({SYNC: [hashed]}).row_states for name, hashed in hashes.items()}
    assert left == {"anna": 0, "bert": 2, "carl": 2}


def test_an_attempt_is_overtaken_by_other_runs_of_its_sync_alone(ledger: Ledger) -> None:
    first = ledger.begin(ref(run_id="one"))
    again = ledger.begin(ref(run_id="one", attempt=1))
    ledger.begin(ref(run_id="two", sync="other"))
    assert not first.is_overtaken(first.id)
    two = ledger.begin(ref(run_id="two"))
    assert first.is_overtaken(first.id)
    assert again.is_overtaken(first.id)
    assert not two.is_overtaken(two.id)


def test_an_attempt_the_ledger_does_not_know_any_more_counts_as_overtaken(ledger: Ledger, clock: Clock) -> None:
    one = ledger.begin(ref(run_id="one"))
    of_another = ledger.begin(ref(run_id="two")).id
    clock.now += timedelta(days=10).total_seconds()
    ledger.begin(ref(run_id="three", sync="other"))
    ledger.purge(timedelta(days=9))
    cleared = ledger.begin(ref(run_id="one", attempt=1))
    assert cleared.is_overtaken(one.id)
    assert cleared.is_overtaken(of_another)
    assert cleared.is_overtaken(cleared.id + 1)


def test_a_purge_leaves_the_run_that_overtook_another(ledger: Ledger, clock: Clock) -> None:
    one = ledger.begin(ref(run_id="one"))
    ledger.begin(ref(run_id="two"))
    clock.now += timedelta(days=10).total_seconds()
    one.mark(0, [rejected("anna")])
    ledger.begin(ref(run_id="three", sync="other"))
    ledger.purge(timedelta(days=9))
    assert one.is_overtaken(one.id)


def test_many_rows_are_forgotten_in_parts(ledger: Ledger) -> None:
    names = [f"p{number}" for number in range(1200)]
    run(ledger, "one", *names)
    later = ledger.begin(ref(run_id="two")).id
    assert ledger.known_rows(SYNC).forget([key(name) for name in names[:1100]], before=later) == 2200
    assert len(known(ledger)) == 100


# --- Rows that may be at the platform although nobody confirmed it -----------------------------------------------


def held_back(name: str) -> Marked:
    return Marked(key(name), WHOLE_ROW, Outcome.SUPPRESSED, "forgotten_here")


def kill(ledger: Ledger, run_id: str, *names: str) -> None:
    """Have a worker die that may have sent rows, and the next run of a mirror note so."""
    killed = ledger.begin(ref(run_id=run_id))
    killed.open(0)
    assert [(attempt.id, batch) for attempt, batch in ledger.unheard(SYNC)] == [(killed.id, 0)]
    ledger.suspects(SYNC).abandon(killed.id, 0, [key(name) for name in names])
    assert ledger.unheard(SYNC) == []


def mark(ledger: Ledger, run_id: str, *marked: Marked) -> None:
    attempt = ledger.begin(ref(run_id=run_id))
    attempt.mark(0, marked)
    attempt.settle(0)


def test_a_row_that_may_have_been_sent_stays_known_whatever_is_refused_later(ledger: Ledger) -> None:
    kill(ledger, "one", "anna", "bert", "carl")
    mark(ledger, "two", held_back("anna"), rejected("bert"))
    assert set(known(ledger)) == {key("anna"), key("bert"), key("carl")}
    remove(ledger, "three", "anna", "bert")
    assert set(known(ledger)) == {key("carl")}


def test_a_row_whose_call_failed_stays_known_when_it_is_held_back_later(ledger: Ledger) -> None:
    mark(ledger, "one", failed("anna"))
    assert ledger.suspects(SYNC).keep_failed() == 1
    mark(ledger, "two", held_back("anna"), Marked(key("anna"), UPDATE, Outcome.SUPPRESSED, "forgotten"))
    assert set(known(ledger)) == {key("anna")}


def test_noting_that_another_call_failed_makes_no_row_unchanged_that_was_held_back(ledger: Ledger) -> None:
    mark(ledger, "one", delivered("anna"), failed("anna", TRACK), delivered("bert"))
    mark(ledger, "two", held_back("anna"))
    assert proof(ledger, "anna", "bert") == {"bert"}
    assert ledger.suspects(SYNC).keep_failed() == 1
    assert proof(ledger, "anna", "bert") == {"bert"}


def test_a_row_that_comes_back_after_its_removal_and_may_have_been_sent_is_known_again(ledger: Ledger) -> None:
    kill(ledger, "one", "anna")
    remove(ledger, "two", "anna")
    assert known(ledger) == {}
    mark(ledger, "three", failed("anna"))
    assert ledger.suspects(SYNC).keep_failed() == 1
    mark(ledger, "four", rejected("anna"))
    assert set(known(ledger)) == {key("anna")}
