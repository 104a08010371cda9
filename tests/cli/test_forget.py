"""`reverse-etl forget` and the DAG `forget_people`: at the platform, here, and in the audit record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.ledger.ledger import Ledger
from reverse_etl.operators.base import hash_key
from reverse_etl.sandbox.testing import READONLY_KEY, SERVER_KEY, SandboxServer
from tests.cli.conftest import Command
from tests.conftest import ROOT
from tests.operators.conftest import Finished, register
from tests.operators.test_purge import holding

pytestmark = pytest.mark.integration

Add = Callable[..., None]
Shop = Callable[..., list[tuple[Any, ...]]]

ZOE = "Zo\u00eb@example.com"


@pytest.fixture
def day(run_sync: Callable[..., Finished], views: Add, reverse_etl: Command) -> None:
    """A run with a row of Ada and one of Zoë."""
    views("ada@example.com")
    views(ZOE, first_name="Plantedzoe")
    assert run_sync().counts == {"read": 2, "delivered": 2}


@pytest.fixture
def requests(shop: Shop) -> Iterator[None]:
    """The table `forget_requests` of the schema with Zoë in it."""
    shop("INSERT INTO forget_requests (email) VALUES (%s)", ZOE)
    yield
    shop("DELETE FROM forget_requests")


def audit(tmp_path: Path) -> list[tuple[str, str, str]]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        records = ledger.audit(hash_key()((ZOE.casefold(),)))
    return [(record.job.action, record.result.outcome.value, record.job.asked_by) for record in records]


WRONG_USE: list[tuple[list[str], str]] = [
    ([], "give either --query, or --email or --user-id"),
    (["--query", "x.sql", "--email", ZOE], "give either --query, or --email or --user-id"),
    (["--query", "no-such.sql"], "no-such.sql cannot be read"),
    (["--email", " "], "an identifier is empty"),
    (["--email", ZOE], "add --yes"),
    (["--email", ZOE, "--yes", "--conn", "mysql_default"], "is of the type mysql, expected customerio, iterable"),
    (["--email", ZOE, "--yes", "--conn", "nosuch"], "there is no connection 'nosuch'; add it to Airflow, or name"),
    *(
        (
            ["--email", ZOE, how, "--action", action],
            f"connection iterable_default cannot {action} a person; it knows forget, unsuppress; name only connections "
            "that can, with --conn",
        )
        for action in ("suppress", "delete")
        for how in ("--yes", "--dry-run")
    ),
]


def test_wrong_use_forgets_nobody(day: None, reverse_etl: Command, sandbox: SandboxServer) -> None:
    for arguments, message in WRONG_USE:
        answer = reverse_etl("forget", *arguments)
        assert (answer.code, answer.out) == (2, ""), arguments
        assert message in answer.err
        assert ZOE not in answer.err
        assert len(sandbox.users()) == 2, arguments


def test_a_dry_run_counts_and_sends_nothing(day: None, reverse_etl: Command, sandbox: SandboxServer) -> None:
    answer = reverse_etl("forget", "--email", ZOE, "--dry-run")
    assert answer.words == "connection people iterable_default 1"
    assert len(sandbox.users()) == 2


def test_after_forgetting_only_the_hashed_record_stays(
    day: None, reverse_etl: Command, sandbox: SandboxServer, tmp_path: Path
) -> None:
    answer = reverse_etl("forget", "--email", ZOE, "--yes", "--asked-by", "dpo", "--job", "case-7")
    assert answer.code == 0, answer.err
    assert "iterable_default delivered 1" in answer.words
    assert ZOE not in answer.out + answer.err
    assert [user["email"] for user in sandbox.users()] == ["ada@example.com"]
    assert holding(tmp_path / "staging", ZOE, "Plantedzoe") == holding(tmp_path / "output", ZOE, "Plantedzoe") == []
    assert audit(tmp_path) == [("forget", "delivered", "dpo")]
    again = reverse_etl("forget", "--email", ZOE, "--yes", "--job", "case-7")
    assert again.code == 0
    assert "1 unchanged for already_confirmed" in again.out


def test_a_malformed_email_is_refused_before_it_is_sent(
    day: None, reverse_etl: Command, sandbox: SandboxServer
) -> None:
    before = sandbox.stats()["requests_total"]
    answer = reverse_etl("forget", "--email", "zoe-at-example.com", "--user-id", "u" * 53, "--yes")
    assert answer.code == 1
    assert "iterable_default: 1 invalid for email_malformed" in answer.out
    assert "iterable_default: 1 invalid for user_id_malformed" in answer.out
    assert sandbox.stats()["requests_total"] == before


def test_nobody_asked_to_be_forgotten_is_no_failure(day: None, reverse_etl: Command) -> None:
    path = str(ROOT / "include/sql/forget_people/forget_requests.sql")
    for further in ("--yes", "--dry-run"):
        answer = reverse_etl("forget", "--query", path, further)
        assert (answer.code, answer.out) == (0, "The query names nobody.\n")


def test_people_stay_here_until_every_platform_has_confirmed(
    day: None, reverse_etl: Command, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(key: str) -> None:
        connection = {"conn_type": "iterable", "host": sandbox.url, "password": key}
        monkeypatch.setenv("AIRFLOW_CONN_ITERABLE_OTHER", json.dumps(connection))

    arguments = ("--email", ZOE, "--yes", "--job", "case-8", "--conn", "iterable_default", "--conn", "iterable_other")
    other(READONLY_KEY)
    answer = reverse_etl("forget", *arguments)
    assert (answer.code, "BadApiKey" in answer.err) == (1, True)
    assert len(sandbox.users()) == 1
    assert holding(tmp_path / "staging", "Plantedzoe")
    other(SERVER_KEY)
    answer = reverse_etl("forget", *arguments)
    assert answer.code == 0, answer.err
    assert "iterable_default: 1 unchanged for already_confirmed" in answer.out
    assert not holding(tmp_path / "staging", "Plantedzoe")


def test_the_people_come_from_a_query(
    day: None, requests: None, reverse_etl: Command, sandbox: SandboxServer, tmp_path: Path
) -> None:
    path = tmp_path / "people.sql"
    path.write_text("SELECT email, NULL AS user_id FROM forget_requests")
    assert reverse_etl("forget", "--query", str(path), "--yes").code == 0
    assert len(sandbox.users()) == 1
    path.write_text("SELECT email AS mail FROM forget_requests")
    answer = reverse_etl("forget", "--query", str(path), "--yes")
    assert (answer.code, "expected email, user_id or both" in answer.err) == (2, True)


def test_the_dag_forgets_the_people_of_its_query(
    day: None, requests: None, sandbox: SandboxServer, tmp_path: Path
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(ROOT / "dags"))
    assert bag.import_errors == {}
    dag = bag.dags["forget_people"]
    register(dag)
    run = Finished(dag.test(run_conf={"connections": ["iterable_default"]}), tmp_path / "output")
    assert run.state == "success"
    assert run.xcom("forget") == {"iterable_default": {"read": 1, "delivered": 1}}
    assert len(sandbox.users()) == 1
    assert [record[:2] for record in audit(tmp_path)] == [("forget", "delivered")]


def test_the_dag_fails_with_what_stopped_a_platform(
    day: None,
    requests: None,
    sandbox: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    connection = {"conn_type": "iterable", "host": sandbox.url, "password": READONLY_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_ITERABLE_OTHER", json.dumps(connection))
    dag = DagBag(str(ROOT / "dags")).dags["forget_people"]
    register(dag)
    conf = {"connections": ["iterable_default", "iterable_other"]}
    run = Finished(dag.test(run_conf=conf), tmp_path / "output")
    assert run.state == "failed"
    assert "AuthenticationRefused" in capsys.readouterr().out
    assert holding(tmp_path / "staging", "Plantedzoe")


def test_the_next_run_asks_the_platform_no_more_about_who_was_forgotten(
    day: None, reverse_etl: Command, run_sync: Callable[..., Finished], sandbox: SandboxServer
) -> None:
    assert reverse_etl("forget", "--email", ZOE.upper(), "--yes").code == 0
    before = sandbox.stats()["requests_total"]
    assert run_sync().counts == {"read": 2, "delivered": 1, "suppressed": 1}
    assert sandbox.stats()["requests_total"] == before + 2, "an update and an event of the other person"
    assert reverse_etl("forget", "--email", ZOE, "--action", "unsuppress", "--yes").code == 0
    assert run_sync().counts == {"read": 2, "delivered": 2}
