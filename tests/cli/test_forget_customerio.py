"""Privacy actions at Customer.io for the people of a SQL query, with an audit record of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.mapping import Field
from reverse_etl.operators.base import hash_key
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, SandboxServer
from tests.cli.conftest import Command
from tests.conftest import ROOT
from tests.operators.conftest import Finished, register
from tests.operators.test_bad_days import reasons

pytestmark = pytest.mark.integration

Shop = Callable[..., list[tuple[Any, ...]]]

ZOE = "zo\u00eb@example.com"
ASKED = ("--yes", "--conn", "customerio_default", "--asked-by", "dpo")


@pytest.fixture
def workspace(
    connections: Callable[..., None], sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> SandboxServer:
    """A workspace with Zoë, person 7 and a bystander."""
    connection = {"conn_type": "customerio", "host": sandbox.url, "password": CUSTOMERIO_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERIO_DEFAULT", json.dumps(connection))
    for user in (ZOE, "7", "bystander"):
        sandbox.customerio.post("identify", {"userId": user, "traits": {"plan": "pro"}})
    return sandbox


@pytest.fixture
def query(shop: Shop, tmp_path: Path) -> Iterator[str]:
    """A query that gives Zoë, person 7, and a row with nobody in it."""
    shop("CREATE TABLE people_who_asked (email VARCHAR(254), user_id BIGINT)")
    shop("INSERT INTO people_who_asked VALUES (%s, NULL), (NULL, 7), (NULL, NULL)", ZOE)
    path = tmp_path / "people.sql"
    path.write_text("SELECT email, user_id FROM people_who_asked")
    yield str(path)
    shop("DROP TABLE people_who_asked")


def there(sandbox: SandboxServer) -> tuple[set[str], set[str]]:
    """Return who is a person and who is suppressed."""
    people = {person["id"] or person["email"] for person in sandbox.customerio.people()}
    return people, {next(iter(found.values())) for found in sandbox.customerio.records("suppressed")}


def audit(folder: Path, identifier: str) -> list[tuple[str, str, str]]:
    with Ledger.open(f"sqlite:///{folder}/ledger.db") as ledger:
        records = ledger.audit(hash_key()((identifier,)))
    return [(record.job.action, record.result.outcome.value, record.job.asked_by) for record in records]


EVERYBODY, BYSTANDER = {ZOE, "7", "bystander"}, {"bystander"}


@pytest.mark.parametrize(
    ("actions", "people", "suppressed"),
    [
        (["suppress"], BYSTANDER, {ZOE, "7"}),
        (["suppress", "unsuppress"], BYSTANDER, set()),
        (["unsuppress"], EVERYBODY, set()),
        (["delete"], BYSTANDER, set()),
        (["forget"], BYSTANDER, {ZOE, "7"}),
    ],
)
def test_the_people_of_a_query_are_dealt_with_and_recorded(
    workspace: SandboxServer,
    query: str,
    reverse_etl: Command,
    tmp_path: Path,
    actions: list[str],
    people: set[str],
    suppressed: set[str],
) -> None:
    for action in actions:
        answer = reverse_etl("forget", "--query", query, "--action", action, *ASKED)
        assert "customerio_default delivered 2" in answer.words
        assert "1 invalid for no_identifier" in answer.out
        assert answer.code == 1, "somebody without an identifier was not dealt with"
        assert ZOE not in answer.out + answer.err
    assert there(workspace) == (people, suppressed)
    for identifier in (ZOE, "7"):
        assert sorted(audit(tmp_path, identifier)) == sorted((action, "delivered", "dpo") for action in actions)


def test_somebody_who_is_refused_stays_and_the_same_job_goes_on(
    workspace: SandboxServer, query: str, reverse_etl: Command, tmp_path: Path
) -> None:
    arguments = ("forget", "--query", query, "--action", "suppress", *ASKED, "--job", "case-9")
    workspace.faults([{"path": "/v1/track", "kind": "status", "status": 400, "match_user_id": "7"}])
    answer = reverse_etl(*arguments)
    assert (answer.code, "customerio_default: 1 rejected for http_400" in answer.out) == (1, True)
    assert there(workspace) == ({"7", "bystander"}, {ZOE})
    workspace.faults([])
    answer = reverse_etl(*arguments)
    assert "1 unchanged for already_confirmed" in answer.out
    assert there(workspace) == (BYSTANDER, {ZOE, "7"})


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("CAST('7' AS BINARY)", "binary"),
        ("CAST(7 AS DECIMAL(10, 2))", "number"),
        ("CAST(7 AS DOUBLE)", "number"),
        ("DATE '2026-01-13'", "date"),
    ],
)
def test_a_column_that_is_no_identifier_is_refused_before_anybody_is_asked_about(
    workspace: SandboxServer, reverse_etl: Command, tmp_path: Path, column: str, kind: str
) -> None:
    path = tmp_path / "people.sql"
    path.write_text(f"SELECT {column} AS user_id")
    answer = reverse_etl("forget", "--query", str(path), "--action", "suppress", *ASKED)
    assert (answer.code, f"column user_id holds {kind}" in answer.err) == (2, True)
    assert there(workspace) == (EVERYBODY, set())


def test_what_is_given_as_an_email_and_is_none_is_nobodys_user_id(
    workspace: SandboxServer, reverse_etl: Command, shop: Shop, tmp_path: Path
) -> None:
    path = tmp_path / "people.sql"
    path.write_text("SELECT '7' AS email UNION ALL SELECT 'bystander'")
    before = workspace.customerio.stats()["messages"]
    for given in (["--query", str(path)], ["--email", "7", "--email", "bystander"]):
        for action in ("forget", "delete", "suppress", "unsuppress"):
            answer = reverse_etl("forget", *given, "--action", action, *ASKED)
            assert (answer.code, "2 invalid for email_malformed" in answer.out) == (1, True), (given, action)
    assert workspace.customerio.stats()["messages"] == before
    assert there(workspace) == (EVERYBODY, set())


def test_the_dag_suppresses_the_people_of_its_query(workspace: SandboxServer, shop: Shop, tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(ROOT / "dags"))
    assert bag.import_errors == {}
    dag = bag.dags["forget_people"]
    register(dag)
    shop("INSERT INTO forget_requests (email) VALUES (%s)", ZOE)
    try:
        params = {"connections": ["customerio_default"], "action": "suppress"}
        run = Finished(dag.test(run_conf=params), tmp_path / "output")
    finally:
        shop("DELETE FROM forget_requests")
    assert run.state == "success"
    assert run.xcom("forget") == {"customerio_default": {"read": 1, "delivered": 1}}
    assert there(workspace) == ({"7", "bystander"}, {ZOE})


def test_rows_of_people_forgotten_from_here_are_held_back_until_that_is_lifted(
    workspace: SandboxServer, reverse_etl: Command, run_sync: Callable[..., Finished], views: Callable[..., None]
) -> None:
    for email in (ZOE.upper(), "7", "bystander@example.com"):
        views(email)
    views("no e-mail")
    destination = CustomerIODestination(
        user_id="email",
        identify=Identify((Field("first_name"),)),
        track=Track("page_view", timestamp="event_time", fields=(Field("page"),)),
    )

    def ran(**params: Any) -> Finished:
        return run_sync(destination=destination, **params)

    def asked(action: str) -> None:
        assert reverse_etl("forget", "--email", ZOE, "--user-id", "7", "--action", action, *ASKED).code == 0

    everybody = {"read": 4, "delivered": 4}
    held_back = {"read": 4, "delivered": 2, "suppressed": 2}
    assert ran().counts == everybody
    asked("delete")
    assert ran().counts == everybody, "whom Customer.io deleted comes back with new data"
    for blocking in ("suppress", "forget"):
        asked(blocking)
        finished = ran()
        assert finished.counts == held_back
        assert reasons(finished) == {"forgotten_here": 2}
        dry = ran(dry_run=True).result["prediction"]
        assert dry["rows"]["suppressed"] == 2
        assert [(why["code"], why["rows"]) for why in dry["refused"]] == [("forgotten_here", 2)]
        asked("unsuppress")
        assert ran().counts == everybody


def test_somebody_whose_block_was_lifted_is_sent_again_although_nothing_changed(
    workspace: SandboxServer, reverse_etl: Command, run_sync: Callable[..., Finished], views: Callable[..., None]
) -> None:
    """Suppressing deleted them: what was delivered before is gone."""
    views(ZOE)
    destination = CustomerIODestination(
        user_id="email", identify=Identify((Field("first_name"),)), track=Track("page_view", timestamp="event_time")
    )

    def ran() -> dict[str, int]:
        return run_sync(destination=destination, sync_sends="changed").counts

    assert ran() == {"read": 1, "delivered": 1}
    assert reverse_etl("forget", "--email", ZOE, "--action", "suppress", *ASKED).code == 0
    assert ran() == {"read": 1, "suppressed": 1}
    assert reverse_etl("forget", "--email", ZOE, "--action", "unsuppress", *ASKED).code == 0
    assert ran() == {"read": 1, "delivered": 1}
    assert ran() == {"read": 1, "unchanged": 1}
