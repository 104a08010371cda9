"""The audit record: who was forgotten when, by keyed hash, on all three databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from reverse_etl.delivery.outcomes import CallResult, Outcome
from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.privacy import PrivacyJob
from reverse_etl.ledger.schema import VERSION_TABLE
from tests.ledger.samples import ACCOUNT, START, Clock, contents, delivered, key, query, ref

JOB = PrivacyJob("job-1", "forget", "iterable_default", ACCOUNT, "ada")
DONE = CallResult("forget", Outcome.DELIVERED, "delivered", 200, 2, "request-1")
LOST = CallResult("forget", Outcome.FAILED, "GenericError", 500, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"job": ""}, "the job's name has 0 characters"),
        ({"job": "x" * 251}, "the job's name has 251 characters"),
        ({"action": "x" * 17}, "the action has 17"),
        ({"account": "short"}, "expected a hash of 32"),
        ({"asked_by": " ada"}, "who asks has 4"),
    ],
)
def test_a_job_that_no_database_could_keep_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        replace(JOB, **change)


def test_only_what_this_job_confirmed_counts_as_confirmed(ledger: Ledger) -> None:
    people = [key(number) for number in range(1_200)]
    ledger.privacy_job(JOB).mark([(person, DONE) for person in people[:1_100]] + [(people[1_100], LOST)])
    assert ledger.privacy_job(JOB).confirmed(people) == frozenset(people[:1_100])
    for change in ({"job": "job-2"}, {"action": "delete"}, {"account": "b" * 32}):
        assert ledger.privacy_job(replace(JOB, **change)).confirmed(people) == frozenset()
    assert ledger.privacy_job(JOB).confirmed([]) == frozenset()


def test_a_confirmation_stays_one_and_tries_add_up(ledger: Ledger, clock: Clock) -> None:
    job = ledger.privacy_job(JOB)
    for result in (LOST, DONE, LOST):
        job.mark([(key("anna"), result)])
        clock.now += 60
    [record] = ledger.audit(key("anna"))
    assert record.result == replace(DONE, tries=8)
    assert (record.job, record.at) == (JOB, START + timedelta(seconds=60))


def test_no_purge_removes_the_audit_record(ledger: Ledger, clock: Clock) -> None:
    ledger.privacy_job(JOB).mark([(key("anna"), DONE)])
    clock.now += timedelta(days=900).total_seconds()
    ledger.purge_person({"page_views": [key("anna")]})
    ledger.purge(timedelta(0), states_older_than=timedelta(0))
    assert [record.result for record in ledger.audit(key("anna"))] == [DONE]
    assert ledger.audit(key("bert")) == []


def test_marking_nobody_writes_nothing(ledger: Ledger) -> None:
    ledger.privacy_job(JOB).mark([])
    assert ledger.audit(key("anna")) == []


@pytest.mark.parametrize("cut_short", [False, True])
def test_a_ledger_of_the_version_before_is_upgraded_and_keeps_its_rows(url: str, cut_short: bool) -> None:
    with Ledger.open(url) as ledger:
        ledger.begin(ref()).mark(0, [delivered("anna")])
    before = contents(url)
    query(url, f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    if not cut_short:
        query(url, "DROP TABLE privacy_actions")
    with Ledger.open(url) as ledger:
        ledger.privacy_job(JOB).mark([(key("anna"), DONE)])
        assert len(ledger.audit(key("anna"))) == 1
    assert {**contents(url), "privacy_actions": []} == before


def test_people_are_blocked_until_their_account_lifts_it(ledger: Ledger, clock: Clock) -> None:
    def did(action: str, *people: str, result: CallResult = DONE, account: str = ACCOUNT) -> None:
        clock.now += 60
        job = replace(JOB, job=f"job at {clock.now}", action=action, account=account)
        ledger.privacy_job(job).mark([(key(person), result) for person in people])

    assert ledger.blocked(ACCOUNT) == frozenset()
    did("forget", "anna", "bob")
    did("suppress", "cy", "dora")
    did("delete", "eve")
    did("forget", "finn", result=LOST)
    did("forget", "gil", account="b" * 32)
    did("unsuppress", "bob", "cy")
    did("unsuppress", "dora", result=LOST)
    did("suppress", "cy")
    did("delete", "anna")
    assert ledger.blocked(ACCOUNT) == {key("anna"), key("cy"), key("dora")}
    assert ledger.blocked("b" * 32) == {key("gil")}


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=-400)])
def test_a_clock_that_jumps_does_not_change_what_was_asked_last(ledger: Ledger, clock: Clock, jump: timedelta) -> None:
    blocked = []
    for place, action in enumerate(("suppress", "unsuppress", "suppress")):
        ledger.privacy_job(replace(JOB, job=f"job-{place}", action=action)).mark([(key("anna"), DONE)])
        blocked.append(ledger.blocked(ACCOUNT) == {key("anna")})
        clock.now += jump.total_seconds()
    assert blocked == [True, False, True]
    assert [record.job.job for record in ledger.audit(key("anna"))] == ["job-2", "job-1", "job-0"]
