"""What counts as known to be at the platform, on every kind of ledger, and what never may."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest

from reverse_etl.delivery.journal import Marks
from reverse_etl.delivery.outcomes import CallResult, Outcome
from reverse_etl.incremental import Incremental
from reverse_etl.ledger.attempts import Attempt
from reverse_etl.ledger.journal import BatchJournal
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import Marked
from reverse_etl.ledger.schema import METADATA
from tests.ledger.samples import FINGERPRINT, TRACK, UPDATE, Clock, delivered, failed, key, query, ref
from tests.ledger.samples import rejected as refused
from tests.ledger.test_settling import OTHER, suppressed, unchanged

ANNA = (key("anna"), UPDATE)
INVALID = Marked(key("anna"), "", Outcome.INVALID, "email_malformed")
NO_CONSENT = Marked(key("anna"), "", Outcome.SUPPRESSED, "no_consent")


def run(ledger: Ledger, name: str, *marked: Marked, attempt: int = 0, batch: int = 0) -> Attempt:
    """One attempt that sends and ends well."""
    begun = ledger.begin(ref(run_id=name, attempt=attempt))
    begun.open(batch)
    begun.mark(batch, marked)
    begun.close(batch)
    return begun


def known(ledger: Ledger, name: str = "now", *, attempt: int = 0) -> Mapping[tuple[str, str], str | None]:
    """What a run begun now knows of Anna and Bert."""
    comparison = ledger.begin(ref(run_id=name, attempt=attempt)).comparison()
    states = comparison.states([key("anna"), key("bert")])
    return {call: state.fingerprint if state.is_proof else None for call, state in states.items()}


# --- What a run begun afterwards knows --------------------------------------------------------------------------


def test_an_empty_ledger_knows_nothing(ledger: Ledger) -> None:
    assert known(ledger) == {}
    assert ledger.begin(ref()).comparison().states([]) == {}


@pytest.mark.parametrize("marked", [failed("anna"), refused("anna"), suppressed("anna"), INVALID])
def test_a_call_never_delivered_is_new(ledger: Ledger, marked: Marked) -> None:
    run(ledger, "before", marked)
    assert known(ledger) == {}


def test_what_was_delivered_is_known_by_call_and_of_its_own_sync_only(ledger: Ledger) -> None:
    run(ledger, "before", delivered("anna"), delivered("anna", TRACK, OTHER), delivered("carl"))
    assert known(ledger) == {ANNA: FINGERPRINT.hex(), (key("anna"), TRACK): OTHER.hex()}
    other = ledger.begin(ref(sync="another_sync"))
    assert other.comparison().states([key("anna")]) == {}


@pytest.mark.parametrize(
    "last",
    [
        failed("anna", fingerprint=OTHER),
        failed("anna", fingerprint=FINGERPRINT),
        refused("anna"),
        suppressed("anna"),
        INVALID,
        refused("anna")._replace(outcome=Outcome.INVALID),
        delivered("anna", fingerprint=None),
    ],
    ids=lambda marked: f"{marked.outcome} {marked.call or 'row'} {marked.fingerprint}",
)
def test_a_call_whose_last_try_did_not_arrive_counts_as_changed(ledger: Ledger, last: Marked) -> None:
    run(ledger, "first", delivered("anna"), delivered("bert"))
    run(ledger, "second", last)
    assert known(ledger) == {ANNA: None, (key("bert"), UPDATE): FINGERPRINT.hex()}


def test_a_refused_event_leaves_the_update_known(ledger: Ledger) -> None:
    run(ledger, "first", delivered("anna"), delivered("anna", TRACK))
    run(ledger, "second", refused("anna", TRACK))
    assert known(ledger) == {ANNA: FINGERPRINT.hex(), (key("anna"), TRACK): None}


def test_a_row_that_left_the_quarantine_by_delivery_is_known_again(ledger: Ledger) -> None:
    run(ledger, "first", delivered("anna"))
    run(ledger, "second", INVALID)
    run(ledger, "third", delivered("anna", fingerprint=OTHER))
    assert known(ledger) == {ANNA: OTHER.hex()}


@pytest.mark.parametrize("held_back", [NO_CONSENT, suppressed("anna")], ids=["row", "call"])
def test_a_row_that_was_held_back_since_counts_as_changed_until_it_is_delivered(
    ledger: Ledger, held_back: Marked
) -> None:
    """The platform may have deleted the person meanwhile."""
    run(ledger, "first", delivered("anna"), delivered("anna", TRACK), delivered("bert"))
    run(ledger, "second", held_back)
    bert = {(key("bert"), UPDATE): FINGERPRINT.hex()}
    assert known(ledger) == {ANNA: None, (key("anna"), TRACK): None, **bert}
    run(ledger, "third", delivered("anna"), delivered("anna", TRACK))
    assert known(ledger) == {ANNA: FINGERPRINT.hex(), (key("anna"), TRACK): FINGERPRINT.hex(), **bert}


def test_an_unchanged_call_keeps_its_state(ledger: Ledger) -> None:
    run(ledger, "first", delivered("anna"))
    run(ledger, "second", unchanged("anna"))
    assert known(ledger) == {ANNA: FINGERPRINT.hex()}


def test_what_a_dry_run_asks_for_leaves_no_trace(ledger: Ledger, url: str) -> None:
    run(ledger, "before", delivered("anna"), INVALID, NO_CONSENT)
    ledger.begin(ref(run_id="killed")).open(0)
    tables = [table.name for table in METADATA.sorted_tables]
    before = {table: query(url, f"SELECT * FROM {table}") for table in tables}
    for sync in ("page_views", "never run"):
        ledger.comparison(sync).states([key("anna"), key("bert")])
        ledger.mappings(sync)
        ledger.watermarks.position(sync, Incremental("updated_at", "id", timedelta(0)))
    ledger.blocked("a" * 32)
    assert {table: query(url, f"SELECT * FROM {table}") for table in tables} == before


# --- Runs that ended without a word ----------------------------------------------------------------------------


def test_after_a_batch_that_never_ended_nothing_delivered_before_is_known(ledger: Ledger) -> None:
    """It may have sent anything: what it has in the outcomes is not all it sent, and never came to the states."""
    run(ledger, "first", delivered("anna"), delivered("bert"))
    killed = ledger.begin(ref(run_id="killed"))
    killed.open(0)
    killed.mark(0, [delivered("anna", fingerprint=OTHER)])
    assert known(ledger) == {ANNA: None, (key("bert"), UPDATE): None}
    run(ledger, "third", delivered("anna"))
    assert known(ledger) == {ANNA: FINGERPRINT.hex(), (key("bert"), UPDATE): None}


def test_a_batch_that_never_ended_leaves_other_syncs_alone(ledger: Ledger) -> None:
    run(ledger, "first", delivered("anna"))
    ledger.begin(ref(run_id="killed", sync="another_sync")).open(0)
    assert known(ledger) == {ANNA: FINGERPRINT.hex()}


def test_a_retry_that_ends_the_batch_makes_good_what_was_not_known(ledger: Ledger) -> None:
    run(ledger, "first", delivered("anna"), delivered("bert"))
    for _ in range(2):
        attempt = ledger.begin(ref(run_id="killed, then retried"))
        attempt.open(0)
        attempt.mark(0, [delivered("anna", fingerprint=OTHER)])
    attempt.close(0)
    assert known(ledger) == {ANNA: OTHER.hex(), (key("bert"), UPDATE): FINGERPRINT.hex()}


def test_a_retry_after_a_later_run_makes_the_state_uncertain(ledger: Ledger) -> None:
    """The retry may send older values than the later run did, and in its first try it may have sent before it."""
    late = ledger.begin(ref(run_id="killed"))
    late.open(0)
    late.mark(0, [delivered("anna")])
    run(ledger, "later", delivered("anna", fingerprint=OTHER), delivered("bert"))
    late.mark(0, [delivered("bert")])
    late.close(0)
    assert known(ledger) == {ANNA: None, (key("bert"), UPDATE): FINGERPRINT.hex()}


def test_reading_about_a_dead_task_neither_opens_nor_closes_its_batch(ledger: Ledger) -> None:
    run(ledger, "first", delivered("anna"))
    dead = ledger.begin(ref(run_id="dead"))
    BatchJournal(dead, 1, sends=False).close()
    assert known(ledger) == {ANNA: FINGERPRINT.hex()}
    dead.open(0)
    BatchJournal(dead, 0, sends=False).close()
    assert known(ledger) == {ANNA: None}


# --- Batches closed without being settled -----------------------------------------------------------------------


def leave(ledger: Ledger, name: str, *marked: Marked) -> Attempt:
    """An attempt of a sync that compares nothing: it ends well, and row states are left for later."""
    begun = ledger.begin(ref(run_id=name))
    begun.open(0)
    begun.mark(0, marked)
    begun.close(0, settle=False)
    return begun


def test_a_batch_that_was_left_is_settled_when_somebody_compares(ledger: Ledger, url: str) -> None:
    leave(ledger, "before", delivered("anna"))
    assert query(url, "SELECT * FROM row_states") == []
    assert ledger.open_batches("page_views") == 0
    for _ in range(2):
        assert known(ledger) == {ANNA: FINGERPRINT.hex()}
    assert query(url, "SELECT * FROM open_batches") == []


def test_batches_that_were_left_count_in_the_order_they_were_sent(ledger: Ledger) -> None:
    leave(ledger, "first", delivered("anna"), delivered("bert"))
    leave(ledger, "second", delivered("anna", fingerprint=OTHER))
    ledger.begin(ref(run_id="third"))
    assert known(ledger) == {ANNA: OTHER.hex(), (key("bert"), UPDATE): FINGERPRINT.hex()}


def test_a_batch_settled_after_a_later_one_makes_the_state_uncertain(ledger: Ledger) -> None:
    leave(ledger, "first", delivered("anna"))
    run(ledger, "second", delivered("anna", fingerprint=OTHER))
    assert known(ledger)[ANNA] is None
    run(ledger, "third", delivered("anna"))
    assert known(ledger) == {ANNA: FINGERPRINT.hex()}


def test_two_left_at_once_that_delivered_different_versions_prove_nothing(ledger: Ledger) -> None:
    one, other = (ledger.begin(ref(run_id=name)) for name in ("one", "other"))
    for attempt, version in ((one, FINGERPRINT), (other, OTHER)):
        attempt.open(0)
        attempt.mark(0, [delivered("anna", fingerprint=version)])
    other.close(0, settle=False)
    one.close(0, settle=False)
    assert known(ledger) == {ANNA: None}


def test_a_batch_that_was_left_and_is_sent_again_is_open_again(ledger: Ledger) -> None:
    left = leave(ledger, "before", delivered("anna"))
    left.open(0)
    assert known(ledger) == {}
    left.close(0, settle=False)
    assert known(ledger) == {ANNA: FINGERPRINT.hex()}


def test_what_is_purged_was_settled_before(ledger: Ledger, clock: Clock) -> None:
    leave(ledger, "before", delivered("anna"))
    clock.now += 60
    ledger.begin(ref(run_id="newest"))
    assert ledger.purge(timedelta(seconds=30)).outcomes == 1
    assert known(ledger) == {ANNA: FINGERPRINT.hex()}


# --- Two runs at once, clocks that jump --------------------------------------------------------------------------


@pytest.mark.parametrize("settled_first", [0, 1])
@pytest.mark.parametrize("marked_first", [0, 1])
def test_two_runs_at_once_that_deliver_different_versions_prove_nothing(
    ledger: Ledger, settled_first: int, marked_first: int
) -> None:
    runs = [ledger.begin(ref(run_id=str(number))) for number in range(2)]
    versions = [delivered("anna"), delivered("anna", fingerprint=OTHER)]
    for attempt in runs:
        attempt.open(0)
    for number in (marked_first, 1 - marked_first):
        runs[number].mark(0, [versions[number], delivered("bert")])
    for number in (settled_first, 1 - settled_first):
        runs[number].close(0)
    assert known(ledger) == {ANNA: None, (key("bert"), UPDATE): FINGERPRINT.hex()}
    for attempt in runs:
        attempt.settle(0)
    assert known(ledger)[ANNA] is None
    run(ledger, "next", versions[0])
    assert known(ledger)[ANNA] == FINGERPRINT.hex()


@pytest.mark.parametrize("tried", [failed("anna", fingerprint=OTHER), refused("anna")])
def test_a_try_of_another_run_meanwhile_makes_a_delivery_uncertain(ledger: Ledger, tried: Marked) -> None:
    one, other = (ledger.begin(ref(run_id=name)) for name in ("one", "other"))
    one.mark(0, [delivered("anna")])
    other.mark(0, [tried])
    one.settle(0)
    other.settle(0)
    assert known(ledger) == {ANNA: None}


def test_while_another_run_sends_nothing_is_known(ledger: Ledger) -> None:
    run(ledger, "first", delivered("anna"))
    other = ledger.begin(ref(run_id="other"))
    other.open(3)
    assert known(ledger) == {ANNA: None}
    other.close(3)
    assert known(ledger) == {ANNA: FINGERPRINT.hex()}


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=-400), timedelta(days=400)])
def test_a_clock_that_jumps_does_not_change_which_delivery_came_last(
    ledger: Ledger, clock: Clock, jump: timedelta
) -> None:
    run(ledger, "first", delivered("anna"), delivered("bert"))
    clock.now += jump.total_seconds()
    run(ledger, "second", delivered("anna", fingerprint=OTHER), failed("bert"))
    assert known(ledger) == {ANNA: OTHER.hex(), (key("bert"), UPDATE): None}


def test_the_newest_run_is_never_purged_so_that_numbers_only_grow(ledger: Ledger, clock: Clock) -> None:
    last = run(ledger, "first", delivered("anna")).id
    clock.now += timedelta(days=100).total_seconds()
    ledger.purge(timedelta(days=1))
    assert ledger.begin(ref(run_id="next")).id > last
    assert known(ledger) == {ANNA: FINGERPRINT.hex()}


# --- The same run again -----------------------------------------------------------------------------------------


def test_a_cleared_run_knows_only_what_was_delivered_before_it_first_began(ledger: Ledger) -> None:
    run(ledger, "before", delivered("anna"), delivered("bert"))
    run(ledger, "cleared", delivered("anna", fingerprint=OTHER))
    assert known(ledger, "cleared", attempt=1) == {ANNA: None, (key("bert"), UPDATE): FINGERPRINT.hex()}
    assert known(ledger, "cleared", attempt=0)[ANNA] == OTHER.hex()
    assert known(ledger, "another run", attempt=1)[ANNA] == OTHER.hex()


def test_a_retry_has_its_deliveries_as_delivered_and_the_rest_as_unchanged(ledger: Ledger) -> None:
    run(ledger, "before", delivered("anna"), delivered("bert"))
    attempt = ledger.begin(ref(run_id="retried"))
    journal = BatchJournal(attempt, 0, compares=True)
    result = CallResult(UPDATE, Outcome.DELIVERED, "delivered", 200, 1)
    asyncio.run(journal.mark([Marks(result, [(0, key("anna"), OTHER.hex())])]))
    again = BatchJournal(ledger.begin(ref(run_id="retried")), 0, compares=True)
    asyncio.run(again.look_up([key("anna"), key("bert")]))
    outcome: Callable[[str, bytes], Outcome | None] = lambda name, mark: (  # noqa: E731
        result.outcome if (result := again.settled(key(name), UPDATE, mark)) else None
    )
    assert outcome("anna", OTHER) is Outcome.DELIVERED
    assert outcome("bert", FINGERPRINT) is Outcome.UNCHANGED
    assert outcome("bert", OTHER) is None
    assert again.resumed == 1


# --- The way here ----------------------------------------------------------------------------------------------


def test_states_written_by_an_older_version_count(ledger: Ledger, url: str) -> None:
    run(ledger, "old", delivered("anna"))
    query(url, "UPDATE row_states SET attempt_id = 0, epoch = 0")
    assert known(ledger) == {ANNA: FINGERPRINT.hex()}
    run(ledger, "new", delivered("anna", fingerprint=OTHER))
    assert known(ledger) == {ANNA: OTHER.hex()}


def test_a_ledger_restored_from_a_backup_sends_again_and_loses_nothing(ledger: Ledger, url: str) -> None:
    """What was delivered after the backup is unknown, and other than the version in it unless it changed back."""
    run(ledger, "backed up", delivered("anna"))
    backup = query(url, "SELECT fingerprint FROM row_states")
    run(ledger, "lost", delivered("anna", fingerprint=OTHER), delivered("bert"))
    query(url, f"UPDATE row_states SET fingerprint = '{backup[0][0]}', attempt_id = 1, epoch = 1")
    query(url, f"DELETE FROM row_states WHERE row_key = '{key('bert')}'")
    query(url, "DELETE FROM runs WHERE run_id = 'lost'")
    assert known(ledger) == {ANNA: FINGERPRINT.hex()}, "the version in the backup, which is not OTHER: sent again"
