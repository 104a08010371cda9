"""Whom not to contact: what is refused when it is built, and when the columns are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reverse_etl.consent import Consent
from reverse_etl.customerio.config import CustomerIODestination, Identify
from reverse_etl.errors import ConfigurationError
from reverse_etl.iterable.config import IterableDestination, UserUpdate
from reverse_etl.mapping import Constant
from tests.unit.test_sync import KINDS, sync

ITERABLE = IterableDestination(email="mail", user_id="id", user=UserUpdate((Constant("x", 1),)))
CUSTOMERIO = CustomerIODestination(user_id="id", identify=Identify((Constant("x", 1),)))


@pytest.fixture
def query(tmp_path: Path) -> Path:
    path = tmp_path / "people.sql"
    path.write_text("SELECT 1 AS email")
    return path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Consent names nobody, expected column= or query="),
        ({"column": ""}, r"Consent\.column is ''"),
        ({"column": " no "}, r"Consent\.column is ' no '"),
        ({"column": True}, r"Consent\.column is True"),
        ({"query": "nowhere.sql"}, r"Consent\.query is 'nowhere\.sql', expected the path of a \.sql file"),
        ({"query": 7}, r"Consent\.query is '7'"),
        ({"column": "opted_out", "email": "mail"}, r"Consent\.email is for query=, which is not given"),
        ({"column": "opted_out", "source_conn_id": "other"}, r"Consent\.source_conn_id is for query="),
    ],
)
def test_what_names_nobody_or_half_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Consent(**given)


def test_a_sync_takes_no_other_consent(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Sync\.consent of views is a str, expected Consent"):
        sync(tmp_path, consent="opted_out")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"column": "opted_out"}, "gives no column opted_out"),
        ({"column": "email"}, r"column email holds text, but Consent\.column needs integer or boolean"),
        ({"column": "seen_at"}, r"column seen_at holds datetime, but Consent\.column needs"),
        ({"query": None, "email": "photo"}, r"column photo holds binary, but Consent\.email needs text or integer"),
    ],
)
def test_a_column_that_cannot_tell_is_refused(tmp_path: Path, query: Path, given: dict[str, Any], message: str) -> None:
    consent = Consent(**{**given, **({"query": query} if "query" in given else {})})
    with pytest.raises(ConfigurationError, match=message):
        sync(tmp_path, consent=consent).check_columns(KINDS)


def test_columns_of_a_good_consent_pass(tmp_path: Path, query: Path) -> None:
    sync(tmp_path, consent=Consent(column="candidate", query=query, user_id="id")).check_columns(KINDS)


@pytest.mark.parametrize(
    ("people", "destination", "named", "found"),
    [
        (["email"], ITERABLE, {}, {"email": "mail"}),
        (["user_id", "email"], ITERABLE, {}, {"user_id": "id", "email": "mail"}),
        (["email"], ITERABLE, {"email": "other"}, {"email": "other"}),
        (["user_id"], CUSTOMERIO, {}, {"user_id": "id"}),
        (["email"], CUSTOMERIO, {"email": "id"}, {"email": "id"}),
    ],
)
def test_people_are_compared_with_the_columns_of_the_destination_or_those_named(
    query: Path, people: list[str], destination: object, named: dict[str, str], found: dict[str, str]
) -> None:
    assert Consent(query=query, **named).compared(people, destination) == found


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ([], "gives 0 columns, expected email, user_id or both"),
        (["email", "name"], "gives 2 columns, expected email, user_id or both, and no other"),
        (["email"], r"gives email, but the destination has no column for it; .* in Consent\(email=\.\.\.\)"),
    ],
)
def test_people_nothing_can_be_compared_with_are_refused(query: Path, people: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Consent(query=query).compared(people, CUSTOMERIO)
