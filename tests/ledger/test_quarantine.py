from __future__ import annotations

from datetime import timedelta

import pytest

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import WHOLE_ROW, Marked, QuarantinedCall
from tests.ledger.samples import DAY, START, TRACK, UPDATE, Clock, delivered, failed, key, query, ref, rejected

LATER = START + timedelta(hours=1)
NEXT_DAY = DAY + timedelta(days=1)


def invalid(name: object) -> Marked:
    return Marked(key(name), WHOLE_ROW, Outcome.INVALID, "email_malformed")


def held(ledger: Ledger, sync: str = "page_views") -> set[tuple[str, str]]:
    return {(call.key, call.call) for call in ledger.quarantine.calls(sync)}


def test_only_refused_calls_are_quarantined(ledger: Ledger) -> None:
    suppressed = Marked(key("dora"), UPDATE, Outcome.SUPPRESSED, "ForgottenUserError", 400, 1)
    ledger.begin(ref()).mark(0, [delivered("anna"), rejected("bert"), invalid("carl"), suppressed, failed("emil")])
    assert held(ledger) == {(key("bert"), UPDATE), (key("carl"), WHOLE_ROW)}


def test_a_quarantined_call_tells_why_and_since_when(ledger: Ledger, clock: Clock) -> None:
    ledger.begin(ref()).mark(0, [rejected("bert")])
    clock.now += 3600
    ledger.begin(ref(run_id="next", window_days=3)).mark(4, [rejected("bert", code="BadParams")])
    assert list(ledger.quarantine.calls("page_views")) == [
        QuarantinedCall(
            sync="page_views",
            key=key("bert"),
            call=UPDATE,
            outcome=Outcome.REJECTED,
            code="BadParams",
            status=400,
            request_id="request-2",
            first_seen=START,
            last_seen=LATER,
            tries=2,
            dag_id="page_views",
            run_id="next",
            day=DAY,
            window_days=3,
        )
    ]


def test_a_delivery_takes_out_its_call_and_the_refusal_of_the_row(ledger: Ledger) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [rejected("anna"), rejected("anna", TRACK), invalid("anna"), rejected("bert"), invalid("carl")])
    ledger.begin(ref(sync="other")).mark(0, [rejected("anna")])
    ledger.begin(ref(run_id="next")).mark(0, [delivered("anna"), failed("bert")])
    assert held(ledger) == {(key("anna"), TRACK), (key("bert"), UPDATE), (key("carl"), WHOLE_ROW)}
    assert held(ledger, "other") == {(key("anna"), UPDATE)}


@pytest.mark.parametrize("code", ["InvalidEmailAddressError", "BadParams"])
def test_rows_that_share_a_key_and_are_refused_together_are_one(ledger: Ledger, code: str) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [rejected("anna"), rejected("anna", code=code)._replace(place=1)])
    attempt.mark(0, [invalid("bert"), invalid("bert")._replace(place=1)])
    assert held(ledger) == {(key("anna"), UPDATE), (key("bert"), WHOLE_ROW)}
    assert [call.tries for call in ledger.quarantine.calls("page_views")] == [1, 1]


def test_a_person_who_is_suppressed_leaves(ledger: Ledger) -> None:
    ledger.begin(ref()).mark(0, [rejected("anna"), rejected("anna", TRACK), invalid("anna"), rejected("bert")])
    suppressed = Marked(key("anna"), UPDATE, Outcome.SUPPRESSED, "ForgottenUserError", 400, 1)
    ledger.begin(ref(run_id="next")).mark(0, [suppressed])
    assert held(ledger) == {(key("anna"), TRACK), (key("bert"), UPDATE)}


def test_a_row_they_refuse_is_no_longer_one_that_we_refused(ledger: Ledger) -> None:
    ledger.begin(ref()).mark(0, [invalid("anna"), invalid("bert")])
    ledger.begin(ref(run_id="next")).mark(0, [rejected("anna"), failed("bert")])
    assert held(ledger) == {(key("anna"), UPDATE), (key("bert"), WHOLE_ROW)}


def test_one_mark_may_deliver_one_call_and_have_the_next_refused(ledger: Ledger) -> None:
    ledger.begin(ref()).mark(0, [rejected("anna"), invalid("anna")])
    ledger.begin(ref(run_id="next")).mark(0, [delivered("anna"), rejected("anna", TRACK)])
    assert held(ledger) == {(key("anna"), TRACK)}


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_pages_hold_every_call_once_in_key_order(ledger: Ledger, page: int) -> None:
    names = range(7)
    marked = [rejected(name, call) for name in names for call in (UPDATE, TRACK)]
    ledger.begin(ref()).mark(0, marked)
    found = [(call.key, call.call) for call in ledger.quarantine.calls("page_views", page=page)]
    assert found == sorted((mark.key, mark.call) for mark in marked)


def test_calls_are_chosen_by_code_and_time(ledger: Ledger, clock: Clock) -> None:
    ledger.begin(ref()).mark(0, [rejected("anna"), rejected("bert", code="BadParams")])
    clock.now += 3600
    ledger.begin(ref(run_id="next")).mark(0, [rejected("carl"), invalid("dora")])
    quarantine = ledger.quarantine
    assert {call.key for call in quarantine.calls("page_views", code="BadParams")} == {key("bert")}
    assert {call.key for call in quarantine.calls("page_views", since=LATER)} == {key("carl"), key("dora")}
    assert list(quarantine.calls("page_views", since=LATER + timedelta(microseconds=1))) == []
    assert list(quarantine.calls("no_such_sync")) == []


def test_keys_are_grouped_by_the_day_and_window_of_the_run_that_refused_them(
    ledger: Ledger, url: str, clock: Clock
) -> None:
    assert ledger.quarantine.by_day("page_views") == {}
    ledger.begin(ref()).mark(0, [rejected("anna"), rejected("anna", TRACK), rejected("bert"), rejected("emil")])
    ledger.begin(ref(run_id="wide", window_days=30)).mark(0, [rejected("carl", code="BadParams")])
    ledger.begin(ref(sync="other")).mark(0, [rejected("dora")])
    clock.now += 3600
    ledger.begin(ref(run_id="next", day=NEXT_DAY)).mark(0, [rejected("anna", TRACK), rejected("bert")])
    by_day = ledger.quarantine.by_day
    assert by_day("page_views") == {
        (DAY, 7): {key("anna"), key("emil")},
        (NEXT_DAY, 7): {key("anna"), key("bert")},
        (DAY, 30): {key("carl")},
    }
    assert by_day("page_views", code="BadParams") == {(DAY, 30): {key("carl")}}
    assert by_day("page_views", since=LATER) == {(NEXT_DAY, 7): {key("anna"), key("bert")}}
    query(url, "DELETE FROM runs WHERE window_days = 30")
    assert by_day("page_views")[None, None] == {key("carl")}


def test_all_calls_of_one_row_are_shown(ledger: Ledger, url: str) -> None:
    ledger.begin(ref()).mark(0, [rejected("anna"), rejected("anna", TRACK, "BadParams"), rejected("bert")])
    ledger.begin(ref(sync="other")).mark(0, [rejected("anna")])
    shown = ledger.quarantine.show("page_views", key("anna"))
    assert [(call.call, call.code, call.day, call.window_days) for call in shown] == [
        (TRACK, "BadParams", DAY, 7),
        (UPDATE, "InvalidEmailAddressError", DAY, 7),
    ]
    assert ledger.quarantine.show("page_views", key("nobody")) == []
    query(url, "DELETE FROM runs")
    [forgotten] = ledger.quarantine.show("other", key("anna"))
    assert (forgotten.run_id, forgotten.day, forgotten.window_days) == ("", None, None)


def test_counts_are_by_sync_outcome_and_code(ledger: Ledger, clock: Clock) -> None:
    assert ledger.quarantine.counts() == {}
    ledger.begin(ref()).mark(0, [rejected("anna"), rejected("bert"), invalid("carl")])
    clock.now += 3600
    ledger.begin(ref(sync="other")).mark(0, [rejected("anna")])
    expected = {
        ("page_views", Outcome.REJECTED, "InvalidEmailAddressError"): 2,
        ("other", Outcome.REJECTED, "InvalidEmailAddressError"): 1,
        ("page_views", Outcome.INVALID, "email_malformed"): 1,
    }
    assert ledger.quarantine.counts() == expected
    assert list(ledger.quarantine.counts().values()) == [2, 1, 1]
    assert set(ledger.quarantine.counts("other")) == {("other", Outcome.REJECTED, "InvalidEmailAddressError")}
    assert sum(ledger.quarantine.counts(since=LATER).values()) == 1


def test_discarding_forgets_what_was_chosen(ledger: Ledger, clock: Clock) -> None:
    names = range(1_200)
    ledger.begin(ref()).mark(0, [*(rejected(name) for name in names), rejected("bert", code="BadParams")])
    ledger.begin(ref(sync="other")).mark(0, [rejected("anna")])
    clock.now += 3600
    ledger.begin(ref(run_id="next")).mark(0, [invalid("carl")])
    discard = ledger.quarantine.discard
    assert discard("no_such_sync") == 0
    assert discard("page_views", keys=[]) == 0
    assert discard("page_views", since=LATER) == 1
    assert discard("page_views", keys=[key("bert")], code="InvalidEmailAddressError") == 0
    assert discard("page_views", code="BadParams") == 1
    assert discard("page_views", keys=[key(name) for name in range(1_100)]) == 1_100
    assert discard("page_views") == 100
    assert held(ledger, "other") == {(key("anna"), UPDATE)}
