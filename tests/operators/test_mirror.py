"""Whole runs of a sync that mirrors its source: who is removed, when somebody is asked, what stays."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from devstack.ports import free_port
from reverse_etl.customerio.config import (
    CustomerIODestination,
    DeletePerson,
    Identify,
    RemoveFromObject,
    SuppressPerson,
)
from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.errors import ConfigurationError, LedgerUnavailable
from reverse_etl.iterable.config import DeleteUser, IterableDestination, RemoveFromList, UserUpdate
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import Marked, RunRef
from reverse_etl.mapping import Constant, Field
from reverse_etl.mirror import Mirror
from reverse_etl.operators.base import hash_key
from reverse_etl.operators.ledger import open_ledger
from reverse_etl.operators.mirror_tasks import FindLeavingOperator, RemoveOperator
from reverse_etl.operators.preview import preview
from reverse_etl.run_day import RunDay
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, JWT_KEY, JWT_SECRET, SandboxServer
from reverse_etl.sync import Sync
from tests.docs.conftest import RestApi, rest
from tests.ledger.conftest import postgres, sqlite_url, url
from tests.operators.conftest import Finished, clear, register

__all__ = ["postgres", "rest", "sqlite_url", "url"]

pytestmark = pytest.mark.integration

LOG = logging.getLogger(__name__)

Shop = Callable[..., list[tuple[Any, ...]]]
Run = Callable[..., Finished]

QUERY = "SELECT id AS member_id, email, first_name, changed_at FROM members ORDER BY id"
ITERABLE = IterableDestination(email="email", user=UserUpdate((Field("first_name"), Constant("member", value=True))))
REMOVAL = UserUpdate((Constant("member", value=False),))


@pytest.fixture(scope="session")
def metadata(airflow: None) -> None:
    """What the server of the REST API asks for."""


@pytest.fixture
def members(shop: Shop) -> Iterator[Callable[..., None]]:
    """Make an empty table; return a function that sets its rows to those numbers."""
    shop("DROP TABLE IF EXISTS members")
    shop(
        "CREATE TABLE members (id INT PRIMARY KEY, email VARCHAR(200), first_name VARCHAR(50), changed_at DATETIME(6))"
    )

    def put(*numbers: int, **emails: str) -> None:
        shop("DELETE FROM members")
        for number in numbers:
            shop("INSERT INTO members VALUES (%s, %s, 'Ada', NOW(6))", number, emails.get(f"m{number}", email(number)))

    yield put
    shop("DROP TABLE members")


@pytest.fixture
def each_ledger(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the runs keep their ledger in each kind of database; return its URL."""
    if not url.startswith("sqlite"):
        monkeypatch.setenv("AIRFLOW_CONN_REVERSE_ETL_LEDGER", url)
    return url


def email(number: int) -> str:
    return f"m{number}@example.com"


def mirror_sync(path: Path, mirror: Mirror, destination: Any = ITERABLE) -> Sync:
    path.write_text(QUERY)
    return Sync(name="members", query=path, key=("member_id",), mirror=mirror, destination=destination)


def mirror_dag(sync: Sync, *, asks: bool, find_operator: Any, remove_operator: Any) -> Any:
    from airflow.sdk import DAG, chain

    from reverse_etl.operators.deliver import DeliverOperator
    from reverse_etl.operators.export_csv import ExportCsvOperator
    from reverse_etl.operators.extract import ExtractOperator
    from reverse_etl.operators.mirror_tasks import ApproveRemovalOperator
    from reverse_etl.operators.params import sync_params
    from reverse_etl.operators.report import ReportOperator

    with DAG(
        dag_id=sync.name,
        schedule=None,
        start_date=datetime(2020, 1, 1, tzinfo=UTC),
        params=sync_params(),
        default_args={"retries": 1, "retry_delay": timedelta(0)},
    ) as dag:
        extract = ExtractOperator(task_id="extract", sync=sync)
        export_csv = ExportCsvOperator(task_id="export_csv", sync=sync)
        deliver = DeliverOperator.over(extract.output, task_id="deliver", sync=sync)
        find = find_operator(task_id="find_leaving", sync=sync)
        remove = remove_operator.over(find.output, task_id="remove", sync=sync)
        report = ReportOperator(task_id="report", sync=sync)
        chain(extract, [export_csv, deliver], find)
        if asks:
            chain(find, ApproveRemovalOperator(task_id="approve_removal", sync=sync), remove, report)
        else:
            chain(find, remove, report)
    return dag


@pytest.fixture
def run(connections: Callable[..., None], tmp_path: Path) -> Run:
    """Return a function that runs the sync; without a task that asks unless one is wanted."""

    def run(
        *,
        asks: bool = False,
        share: float = 1,
        removal: Any = REMOVAL,
        destination: Any = ITERABLE,
        find_operator: Any = FindLeavingOperator,
        remove_operator: Any = RemoveOperator,
        **params: object,
    ) -> Finished:
        sync = mirror_sync(tmp_path / "members.sql", Mirror(removal, share), destination)
        dag = mirror_dag(sync, asks=asks, find_operator=find_operator, remove_operator=remove_operator)
        register(dag)
        return Finished(dag.test(run_conf=params), tmp_path / "output")

    return run


@contextmanager
def answering(rest: RestApi, choice: str, seen: dict[str, Any]) -> Iterator[None]:
    """Answer the question of the next run of the DAG as a person in the UI does."""

    def answer() -> None:
        path = "/api/v2/dags/members/dagRuns/~/hitlDetails?response_received=false"
        end = time.monotonic() + 60
        while time.monotonic() < end and seen.get("status") != 200:
            time.sleep(0.2)
            # A database that is locked for the moment is no reason to give up: the run would wait for ever.
            for detail in rest.call("GET", path).json().get("hitl_details", []):
                place = detail["task_instance"]
                if place["state"] == "awaiting_input":
                    url = (
                        f"/api/v2/dags/members/dagRuns/{quote(place['dag_run_id'])}/taskInstances/{place['task_id']}"
                        f"/{place['map_index']}/hitlDetails"
                    )
                    answered = rest.call("PATCH", url, {"chosen_options": [choice], "params_input": {}})
                    seen.update(detail, status=answered.status_code, said=answered.text)

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    thread.join(timeout=60)


def flags(sandbox: SandboxServer) -> dict[str, bool]:
    return {str(user["email"]): user["dataFields"]["member"] for user in sandbox.users()}


def here(*numbers: int) -> dict[str, bool]:
    return {email(number): True for number in numbers}


def gone(*numbers: int) -> dict[str, bool]:
    return {email(number): False for number in numbers}


def test_rows_that_left_are_removed_once_and_sent_again_when_they_come_back(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, each_ledger: str
) -> None:
    members(1, 2, 3)
    first = run()
    assert (first.state, first.result["removals"]) == (
        "success",
        {"known": 3, "removed": 0, "unknown": 0, "staying": 0, "returned": 0, "outcomes": {}},
    )
    members(1)
    second = run()
    assert (second.state, second.counts) == ("success", {"read": 1, "delivered": 1})
    assert second.result["removals"]["removed"] == 2
    assert second.result["removals"]["outcomes"] == {"delivered": 2}
    assert flags(sandbox) == here(1) | gone(2, 3)
    requests = sandbox.stats()["requests_total"]
    assert run().result["removals"]["removed"] == 0
    assert sandbox.stats()["requests_total"] == requests + 1
    members(1, 3)
    assert run().counts == {"read": 2, "delivered": 2}
    assert flags(sandbox) == here(1, 3) | gone(2)
    members(1)
    assert run().result["removals"]["outcomes"] == {"delivered": 1}
    assert flags(sandbox) == here(1) | gone(2, 3)
    assert len(known(each_ledger)) == 1


def test_a_person_with_another_row_in_the_source_is_not_removed(
    run: Run, members: Callable[..., None], sandbox: SandboxServer
) -> None:
    members(1, 2, m2="m1@EXAMPLE.com")
    run()
    members(2, m2="m1@EXAMPLE.com")
    finished = run()
    assert finished.result["removals"] == {
        "known": 2,
        "removed": 0,
        "unknown": 0,
        "staying": 1,
        "returned": 0,
        "outcomes": {},
    }
    assert set(flags(sandbox).values()) == {True}


@pytest.mark.parametrize("params", [{"dry_run": True}, {"row_limit": 1}])
def test_a_dry_run_counts_and_a_trial_does_not_look(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, params: dict[str, object]
) -> None:
    members(1, 2, 3)
    run()
    members(1)
    finished = run(**params)
    assert finished.state == "success"
    assert finished.result["removals"]["removed"] == (2 if "dry_run" in params else 0)
    assert flags(sandbox) == here(1, 2, 3)
    assert run().result["removals"]["outcomes"] == {"delivered": 2}


@pytest.mark.parametrize("removal", [REMOVAL, DeleteUser()], ids=["update", "delete"])
def test_the_run_removes_what_a_preview_and_a_dry_run_say(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, each_ledger: str, tmp_path: Path, removal: Any
) -> None:
    members(*range(1, 21), m19="both@example.com", m20="BOTH@example.com")
    run()
    members(*range(1, 16), 19, 30, m19="both@example.com")
    before = sandbox.stats()["requests_total"]
    dry = run(removal=removal, share=0.1, dry_run=True)
    sync = mirror_sync(tmp_path / "members.sql", Mirror(removal, 0.1))
    said = preview(sync, RunDay(date(2026, 1, 13), 7), sends_all=True, batch_rows=10_000, run_id="p", log=LOG)
    assert sandbox.stats()["requests_total"] == before
    rows = {name: count for name, count in said.prediction["rows"].items() if count}
    assert rows == {"new": 1, "as_before": 16, "removed": 3}
    assert dry.result["prediction"] == said.prediction
    assert said.leaving is not None
    assert said.leaving.reasons == ["3 of 21 rows are more than the share of 10.0%"]
    assert said.leaving.as_dict().items() <= dry.xcom("find_leaving", "leaving").items()
    real = run(removal=removal)
    assert real.counts == {"read": 17, "delivered": 17}
    found = {"known": 21, "removed": 3, "staying": 1, "unknown": 0}
    assert real.result["removals"] == {**found, "returned": 0, "outcomes": {"delivered": 3}}
    assert {name: dry.result["removals"][name] for name in found} == found
    requests = sum(here["requests"] for here in dry.result["prediction"]["requests"].values())
    assert sandbox.stats()["requests_total"] == before + requests


def test_a_dry_run_says_that_somebody_is_asked_where_a_row_is_refused(
    run: Run, members: Callable[..., None], sandbox: SandboxServer
) -> None:
    members(*range(1, 11))
    run()
    members(*range(1, 9), 11, m11="no address")
    dry, real = run(share=0.19, dry_run=True), run(share=0.19)
    said, found = (finished.xcom("find_leaving", "leaving") for finished in (dry, real))
    assert said["reasons"] == found["reasons"] == ["2 of 10 rows are more than the share of 19.0%"]
    assert flags(sandbox) == here(*range(1, 11))


def test_without_an_answer_nothing_is_removed(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    members(1, 2, 3)
    run()
    members(1)
    finished = run(share=0.1)
    assert finished.state == "failed"
    assert "put an ApproveRemovalOperator before this task" in capsys.readouterr().out
    assert flags(sandbox) == here(1, 2, 3)


def test_the_source_is_empty_and_somebody_rejects(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, rest: RestApi, tmp_path: Path
) -> None:
    members(1, 2, 3)
    run()
    before = known(f"sqlite:///{tmp_path}/ledger.db")
    members()
    seen: dict[str, Any] = {}
    with answering(rest, "Reject", seen):
        finished = run(asks=True)
    assert seen["subject"] == "Remove 3 of 3 rows of members?"
    assert "the source is empty" in seen["body"]
    assert all(f"`{key}`" in seen["body"] for key in before)
    assert "example.com" not in seen["body"]
    assert (finished.state, finished.states("remove")) == ("success", ["skipped"])
    assert finished.result["removals"]["removed"] == 3
    assert finished.result["removals"]["outcomes"] == {}
    assert flags(sandbox) == here(1, 2, 3)
    assert known(f"sqlite:///{tmp_path}/ledger.db") == before


def test_more_than_the_share_waits_until_somebody_approves(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, rest: RestApi
) -> None:
    members(*range(1, 11))
    run()
    members(*range(1, 9))
    seen: dict[str, Any] = {}
    with answering(rest, "Approve", seen):
        finished = run(asks=True, share=0.1)
    assert "2 of 10 rows are more than the share of 10.0%" in seen["body"]
    assert "Approve to have `UserUpdate (" in seen["body"]
    assert finished.result["removals"]["outcomes"] == {"delivered": 2}
    assert flags(sandbox) == here(*range(1, 9)) | gone(9, 10)


def test_an_answer_about_some_rows_is_none_about_those_found_when_the_find_task_was_cleared(
    run: Run,
    members: Callable[..., None],
    sandbox: SandboxServer,
    rest: RestApi,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    members(*range(1, 11))
    run()
    members(*range(1, 9))
    seen: dict[str, Any] = {}
    with answering(rest, "Approve", seen):
        approved = run(asks=True, share=0.1)
    assert approved.result["removals"]["outcomes"] == {"delivered": 2}
    sync = mirror_sync(tmp_path / "members.sql", Mirror(REMOVAL, 0.1))
    dag = mirror_dag(sync, asks=True, find_operator=FindLeavingOperator, remove_operator=RemoveOperator)

    members(*range(1, 6))
    refused = clear(dag, approved, "extract", "export_csv", "deliver", "find_leaving", "remove", "report")
    assert (refused.state, refused.states("remove"), refused.states("approve_removal")) == (
        "failed",
        ["failed"],
        ["success"],
    )
    assert flags(sandbox) == here(*range(1, 9)) | gone(9, 10)

    # Airflow would show the question about two of ten rows again.
    refused = clear(dag, refused, "approve_removal", "remove", "report")
    assert (refused.states("approve_removal"), refused.states("remove")) == (["failed"], ["upstream_failed"])
    assert capsys.readouterr().out.count("start a new run of the DAG, which asks about these") == 2
    assert flags(sandbox) == here(*range(1, 9)) | gone(9, 10)

    with answering(rest, "Approve", seen := {}):
        anew = run(asks=True, share=0.1)
    assert seen["subject"] == "Remove 3 of 8 rows of members?"
    assert anew.result["removals"]["outcomes"] == {"delivered": 3}
    assert flags(sandbox) == here(*range(1, 6)) | gone(*range(6, 11))


def test_an_answer_holds_for_the_same_rows_found_again(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, rest: RestApi, tmp_path: Path
) -> None:
    class Unlucky(RemoveOperator):
        def execute(self, context: Any) -> None:
            raise ConfigurationError("not yet")

    members(*range(1, 11))
    run()
    members(*range(1, 9))
    with answering(rest, "Approve", {}):
        failed = run(asks=True, share=0.1, remove_operator=Unlucky)
    assert (failed.state, failed.states("remove")) == ("failed", ["failed"])
    sync = mirror_sync(tmp_path / "members.sql", Mirror(REMOVAL, 0.1))
    dag = mirror_dag(sync, asks=True, find_operator=FindLeavingOperator, remove_operator=RemoveOperator)
    mended = clear(dag, failed, "find_leaving", "remove", "report")
    assert (mended.state, mended.result["removals"]["outcomes"]) == ("success", {"delivered": 2})
    assert flags(sandbox) == here(*range(1, 9)) | gone(9, 10)


def test_users_are_deleted_where_the_mirror_says_so(
    run: Run, members: Callable[..., None], sandbox: SandboxServer
) -> None:
    odd = "o'neill+%2f/a@example.com"
    members(1, 2, 3, m3=odd)
    run(removal=DeleteUser())
    assert set(flags(sandbox)) == {email(1), email(2), odd}
    members(1)
    assert run(removal=DeleteUser()).result["removals"]["outcomes"] == {"delivered": 2}
    assert flags(sandbox) == here(1)


def test_users_are_taken_off_a_list_where_the_mirror_says_so(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, connections: Callable[..., None]
) -> None:
    number = sandbox.post("/api/lists", {"name": "members"})["listId"]
    members(1, 2, 3)
    run(removal=RemoveFromList(number))
    people = [{"email": email(person)} for person in (1, 2, 3)]
    sandbox.post("/api/lists/subscribe", {"listId": number, "subscribers": people})
    members(1)
    unknown = run(removal=RemoveFromList(number + 1))
    assert (unknown.state, unknown.states("remove"), unknown.tries("remove")) == ("failed", ["failed"], 1)
    assert run(removal=RemoveFromList(number)).result["removals"]["outcomes"] == {"delivered": 2}
    lists = [
        sandbox.get(f"/api/users/{email(person)}")["user"]["dataFields"].get("emailListIds") for person in (1, 2, 3)
    ]
    assert lists == [[number], None, None]
    members(4)
    connections(password=JWT_KEY, extra={"jwt_secret": JWT_SECRET})
    refused = run(removal=RemoveFromList(number))
    assert "RemoveFromList needs a key without JWT" in " ".join(refused.result["problems"])


def test_a_share_within_the_limit_asks_nobody(run: Run, members: Callable[..., None], sandbox: SandboxServer) -> None:
    members(*range(1, 11))
    run()
    members(*range(1, 10))
    assert run(asks=True, share=0.1).result["removals"]["outcomes"] == {"delivered": 1}
    assert flags(sandbox) == here(*range(1, 10)) | gone(10)


def test_a_failed_extract_removes_nobody(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, shop: Shop
) -> None:
    members(1, 2, 3)
    run()
    shop("ALTER TABLE members RENAME COLUMN first_name TO other_name")
    assert run().state == "failed"
    assert flags(sandbox) == here(1, 2, 3)


def test_rows_that_were_not_all_delivered_leave_nobody_removed(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, connections: Callable[..., None]
) -> None:
    members(1, 2, 3)
    run()
    members(1)
    connections(password="no-such-key")
    finished = run()
    assert (finished.state, finished.states("remove")) == ("failed", ["upstream_failed"])
    connections()
    assert flags(sandbox) == here(1, 2, 3)


def test_a_removal_that_fails_is_tried_again_and_none_is_sent_twice(
    run: Run, members: Callable[..., None], sandbox: SandboxServer
) -> None:
    members(*range(1, 8))
    run()
    members(1)
    sandbox.faults([{"kind": "refuse_rows", "list": "unexplained", "match_email": email(5), "times": 1}])
    finished = run()
    assert finished.result["removals"]["removed"] == 6
    assert run().state == "success"
    assert flags(sandbox) == here(1) | gone(*range(2, 8))


class CutShort(RemoveOperator):
    """Ends its first try when everything was sent and marked, and nothing forgotten yet."""

    def execute(self, context: Any) -> None:
        self.is_first_try = context["ti"].try_number == 1
        super().execute(context)

    def _forget(self, removal: RunRef, results: Any) -> None:
        if self.is_first_try:
            raise LedgerUnavailable("the worker was cut off")
        super()._forget(removal, results)


def test_a_removal_that_was_cut_short_goes_on_and_sends_nothing_twice(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, each_ledger: str
) -> None:
    members(1, 2, 3)
    run()
    members(1)
    before = sandbox.stats()["requests_total"]
    finished = run(remove_operator=CutShort, removal=DeleteUser())
    assert (finished.state, finished.tries("remove")) == ("success", 2)
    assert finished.result["removals"]["outcomes"] == {"delivered": 2}
    # One for the row that is still there, one for each user deleted.
    assert sandbox.stats()["requests_total"] == before + 3
    assert len(known(each_ledger)) == 1


class NeverHeardOf(RemoveOperator):
    """Ends every try when everything was sent, before it is forgotten."""

    def _forget(self, removal: RunRef, results: Any) -> None:
        raise LedgerUnavailable("the worker was cut off")


def test_who_comes_back_after_a_removal_nobody_heard_of_is_sent_again(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, each_ledger: str
) -> None:
    members(1, 2, 3)
    run(send="changed")
    members(1)
    assert run(remove_operator=NeverHeardOf, removal=DeleteUser(), send="changed").state == "failed"
    assert (flags(sandbox), len(known(each_ledger))) == (here(1), 3)
    members(1, 2)
    back = run(removal=DeleteUser(), send="changed")
    assert back.counts == {"read": 2, "delivered": 1, "unchanged": 1}
    assert back.result["removals"]["outcomes"] == {"delivered": 1}
    assert (flags(sandbox), len(known(each_ledger))) == (here(1, 2), 2)


def test_a_replay_cut_off_before_a_removal_that_goes_on_after_it_hides_nobody_who_comes_back(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, each_ledger: str
) -> None:
    replay = RunRef("replay_quarantine", "earlier", "members", 0, date(2026, 1, 13), 7)

    class ReplayGoesOn(RemoveOperator):
        def _forget(self, removal: RunRef, results: Any) -> None:
            super()._forget(removal, results)
            with open_ledger() as ledger:
                ledger.begin(replay).close(0)

    members(1, 2, 3)
    run(send="changed")
    with Ledger.open(each_ledger) as ledger:
        states = ledger.states("members", sorted(known(each_ledger)))
        replayed = ledger.begin(replay)
        replayed.open(0)
        replayed.mark(
            0,
            [
                Marked(key, call, Outcome.DELIVERED, "ok", fingerprint=state.fingerprint)
                for (key, call), state in states.items()
            ],
        )
    members(1)
    assert run(remove_operator=ReplayGoesOn, removal=DeleteUser()).result["removals"]["outcomes"] == {"delivered": 2}
    assert flags(sandbox) == here(1)
    members(1, 3)
    back = run(send="changed", removal=DeleteUser())
    assert back.counts == {"read": 2, "delivered": 1, "unchanged": 1}
    assert flags(sandbox) == here(1, 3)


def changing(change: Callable[[int], object]) -> type[RemoveOperator]:
    """Return an operator that removes after a change of the test, which is told the number of the try."""

    class Later(RemoveOperator):
        def execute(self, context: Any) -> None:
            change(context["ti"].try_number)
            super().execute(context)

    return Later


@pytest.mark.parametrize("batch_rows", [10, 1])
def test_who_came_back_since_rows_were_compared_is_left_alone_and_counted(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, batch_rows: int
) -> None:
    members(1, 2, 3, 4)
    run()
    members(1)
    finished = run(remove_operator=changing(lambda _: members(1, 3)), batch_rows=batch_rows)
    expected = {"known": 4, "removed": 3, "unknown": 0, "staying": 0, "returned": 1, "outcomes": {"delivered": 2}}
    assert (finished.state, finished.result["removals"]) == ("success", expected)
    assert json.loads(Path(finished.result["json"].removeprefix("file://")).read_text())["removals"] == expected
    assert flags(sandbox) == here(1, 3) | gone(2, 4)
    assert run(send="changed").counts == {"read": 2, "unchanged": 2}


def test_where_everybody_came_back_nothing_is_sent(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, tmp_path: Path
) -> None:
    members(1, 2, 3)
    run()
    members(1)
    before = sandbox.stats()["requests_total"]
    finished = run(remove_operator=changing(lambda _: members(1, 2, 3)))
    assert (finished.state, finished.states("remove")) == ("success", ["success"])
    assert finished.result["removals"]["returned"] == finished.result["removals"]["removed"] == 2
    # That of the row that was there all the time.
    assert sandbox.stats()["requests_total"] == before + 1
    assert len(known(f"sqlite:///{tmp_path}/ledger.db")) == 3
    assert run(send="changed").counts == {"read": 3, "unchanged": 3}


def test_a_source_that_is_away_before_a_removal_is_asked_again_and_nobody_goes_meanwhile(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = os.environ["AIRFLOW_CONN_MYSQL_DEFAULT"]
    seen: list[dict[str, bool]] = []

    def away(number: int) -> None:
        seen.append(flags(sandbox))
        port = {"port": free_port()} if number == 1 else {}
        monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(json.loads(connection) | port))

    members(1, 2)
    run()
    members(1)
    finished = run(remove_operator=changing(away))
    assert (finished.state, finished.tries("remove"), seen) == ("success", 2, [here(1, 2)] * 2)
    assert flags(sandbox) == here(1) | gone(2)


def test_who_comes_back_between_two_tries_of_a_removal_is_sent_again(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, each_ledger: str
) -> None:
    class BackAfterOneTry(CutShort):
        def _forget(self, removal: RunRef, results: Any) -> None:
            members(1, 2)
            super()._forget(removal, results)

    members(1, 2, 3)
    run(send="changed")
    members(1)
    finished = run(remove_operator=BackAfterOneTry, removal=DeleteUser())
    assert (finished.state, finished.tries("remove")) == ("success", 2)
    removals = finished.result["removals"]
    assert (removals["returned"], removals["outcomes"]) == (1, {"delivered": 1})
    back = run(send="changed", removal=DeleteUser())
    assert back.counts == {"read": 2, "delivered": 1, "unchanged": 1}
    assert (flags(sandbox), len(known(each_ledger))) == (here(1, 2), 2)


@pytest.mark.parametrize("how", ["has begun since", "sends rows of sync members"])
def test_a_removal_found_before_another_run_began_is_left_to_that_run(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Overtaken(RemoveOperator):
        def execute(self, context: Any) -> None:
            with open_ledger() as ledger:
                if how == "has begun since":
                    ledger.begin(RunRef("another", "later", "members", 0, date(2026, 1, 14), 7))
                else:
                    ledger.turns.give_back("members", "members", context["dag_run"].run_id)
                    ledger.turns.take("members", "another", "later", 1)
            super().execute(context)

    members(1, 2, 3)
    run()
    members(1)
    finished = run(remove_operator=Overtaken)
    assert (finished.state, finished.states("remove")) == ("success", ["skipped"])
    assert f"{how}" in capsys.readouterr().out
    assert flags(sandbox) == here(1, 2, 3)
    assert run().result["removals"]["outcomes"] == {"delivered": 2}


def deliver_elsewhere(number: int) -> None:
    """Have another run of the sync, which began now, deliver a member."""
    with open_ledger() as ledger:
        other = ledger.begin(RunRef("another", "later", "members", 0, date(2026, 1, 14), 7))
        result = Marked(hash_key()((number,)), "user_update", Outcome.DELIVERED, "ok", fingerprint=b"f" * 16)
        other.open(0)
        other.mark(0, [result])
        other.close(0)


def test_who_came_back_before_the_find_task_was_cleared_stays(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, each_ledger: str
) -> None:
    class ClearedAfterAnotherRun(FindLeavingOperator):
        def execute(self, context: Any) -> Any:
            deliver_elsewhere(3)
            context["dag_run"].clear_number += 1
            return super().execute(context)

    members(1, 2, 3)
    run()
    members(1)
    finished = run(find_operator=ClearedAfterAnotherRun)
    assert (finished.state, finished.states("remove")) == ("success", ["skipped"])
    assert finished.result["removals"]["removed"] == 1
    assert flags(sandbox) == here(1, 2, 3)
    assert len(known(each_ledger)) == 3


def test_members_of_a_purged_person_are_forgotten(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, tmp_path: Path
) -> None:
    from reverse_etl.operators.purge import purge_old, purge_person
    from reverse_etl.operators.syncs import Syncs

    members(1, 2)
    run()
    purge_old(timedelta(days=1))
    [path] = (tmp_path / "staging/mirror=members").rglob("*.parquet")
    path.touch()
    sync = Sync(
        "members",
        tmp_path / "members.sql",
        ("member_id",),
        IterableDestination(email="email", user=REMOVAL),
    )
    purge_person(Syncs({"members": [sync]}), emails=[email(2)])
    assert email(2).encode() not in path.read_bytes()
    members(1)
    finished = run()
    assert finished.result["removals"]["removed"] == 0
    assert flags(sandbox) == here(1, 2)


def test_rows_nobody_remembers_stay_and_are_counted(
    run: Run, members: Callable[..., None], sandbox: SandboxServer, tmp_path: Path
) -> None:
    members(1, 2)
    run()
    for path in (tmp_path / "staging/mirror=members").rglob("*.parquet"):
        path.unlink()
    members(1)
    assert run().result["removals"] == {
        "known": 2,
        "removed": 0,
        "unknown": 1,
        "staying": 0,
        "returned": 0,
        "outcomes": {},
    }


def known(ledger_url: str) -> set[str]:
    with Ledger.open(ledger_url) as ledger:
        return {key for page in ledger.known_rows("members").pages() for key, _ in page}


@pytest.fixture
def run_at_customerio(run: Run, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Finished]:
    """Return a function that runs the sync to Customer.io with that removal."""
    connection = {"conn_type": "customerio", "host": sandbox.url, "password": CUSTOMERIO_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERIO_DEFAULT", json.dumps(connection))
    destination = CustomerIODestination(
        user_id="member_id", identify=Identify((Constant("member", value=True),), timestamp="changed_at")
    )
    return lambda removal: run(removal=removal, destination=destination)


def people(sandbox: SandboxServer) -> dict[str, bool]:
    return {str(person["id"]): person["traits"]["member"] for person in sandbox.customerio.people()}


def test_customerio_people_are_deleted_each_time_they_leave(
    run_at_customerio: Callable[[Any], Finished], members: Callable[..., None], sandbox: SandboxServer
) -> None:
    for _ in range(2):
        members(1, 2)
        assert run_at_customerio(DeletePerson()).counts == {"read": 2, "delivered": 2}
        assert people(sandbox) == {"1": True, "2": True}
        members(1)
        assert run_at_customerio(DeletePerson()).result["removals"]["outcomes"] == {"delivered": 1}
        assert people(sandbox) == {"1": True}


def test_customerio_people_are_suppressed(
    run_at_customerio: Callable[[Any], Finished], members: Callable[..., None], sandbox: SandboxServer
) -> None:
    members(1, 2)
    run_at_customerio(SuppressPerson())
    members(1)
    run_at_customerio(SuppressPerson())
    assert people(sandbox) == {"1": True}
    assert sandbox.customerio.count("suppressed") == 1


def test_customerio_traits_are_set_each_time_somebody_leaves(
    run_at_customerio: Callable[[Any], Finished], members: Callable[..., None], sandbox: SandboxServer
) -> None:
    removal = Identify((Constant("member", value=False),))
    for _ in range(2):
        members(1, 2)
        run_at_customerio(removal)
        assert people(sandbox) == {"1": True, "2": True}
        members(1)
        run_at_customerio(removal)
        assert people(sandbox) == {"1": True, "2": False}


def test_customerio_people_leave_an_object_each_time_they_leave(
    run_at_customerio: Callable[[Any], Finished], members: Callable[..., None], sandbox: SandboxServer
) -> None:
    def related() -> set[str]:
        return {str(found["id"]) for found in sandbox.customerio.records("relationships")}

    for _ in range(2):
        members(1, 2)
        run_at_customerio(RemoveFromObject("members", 3))
        for number in ("1", "2"):
            group = {"userId": number, "groupId": "members", "traits": {"objectTypeId": "3"}}
            sandbox.customerio.post("group", group)
        assert len(related()) == 2
        members(1)
        run_at_customerio(RemoveFromObject("members", 3))
        assert len(related()) == 1
        assert people(sandbox) == {"1": True, "2": True}


def test_customerio_people_are_unsubscribed(
    run_at_customerio: Callable[[Any], Finished], members: Callable[..., None], sandbox: SandboxServer
) -> None:
    removal = Identify((Constant("unsubscribed", value=True),))
    members(1, 2)
    run_at_customerio(removal)
    members(1)
    run_at_customerio(removal)
    assert {person["id"]: person["unsubscribed"] for person in sandbox.customerio.people()} == {"1": False, "2": True}
