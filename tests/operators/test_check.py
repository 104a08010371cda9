"""The check before the first row, as a task and by its function, on a real source and the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from devstack.ports import free_port
from reverse_etl.checking import Level
from reverse_etl.consent import Consent
from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.errors import SourceUnavailable
from reverse_etl.iterable.config import DeleteUser, IterableDestination, UserUpdate
from reverse_etl.mapping import Field
from reverse_etl.mirror import Mirror
from reverse_etl.operators.check import CheckOperator, check_sync
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.params import sync_params
from reverse_etl.run_day import RunDay
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, DISABLED_KEY, SandboxServer
from reverse_etl.sync import Sync
from tests.operators.conftest import DAY, QUERY, Finished, default_destination, register
from tests.operators.test_bad_days import views

__all__ = ["views"]

pytestmark = pytest.mark.integration

Add = Callable[..., None]
RUN_DAY = RunDay(date(2026, 1, 13), 7)


def make_sync(tmp_path: Path, query: str = QUERY, **changes: Any) -> Sync:
    path = tmp_path / "views.sql"
    path.write_text(query)
    return Sync(
        **{"name": "views", "query": path, "key": ("view_id",), "destination": default_destination(), **changes}
    )


def levels(sync: Sync, *, ask: bool = True) -> list[tuple[str, str]]:
    return [(finding.level.value, finding.what) for finding in check_sync(sync, RUN_DAY, ask=ask)]


def run(sync: Sync, tmp_path: Path, **params: object) -> Finished:
    from airflow.sdk import DAG

    with DAG(
        "checked",
        schedule=None,
        start_date=datetime(2020, 1, 1, tzinfo=UTC),
        params=sync_params(),
        default_args={"retries": 1, "retry_delay": timedelta(0)},
    ) as dag:
        CheckOperator(task_id="check", sync=sync) >> ExtractOperator(task_id="extract", sync=sync)
    register(dag)
    return Finished(dag.test(run_conf={"date": DAY, **params}), tmp_path / "output")


# --- The query -------------------------------------------------------------------------------------------------


def test_a_column_that_is_missing_or_does_not_fit_is_one_error_and_the_platform_is_not_asked(
    connections: Callable[..., None], views: Add, sandbox: SandboxServer, tmp_path: Path
) -> None:
    for query in (QUERY.replace("first_name, ", ""), QUERY.replace("candidate,", "'x' AS candidate,")):
        assert levels(make_sync(tmp_path, query)) == [("error", "query")]
    assert sandbox.stats()["requests_total"] == 0


@pytest.mark.parametrize("sql", ["SELECT 1 AS a FROM nowhere", "SELECT FROM nowhere", "SELECT nowhere FROM views"])
def test_a_query_that_does_not_run_is_an_error_that_names_its_file(
    connections: Callable[..., None], views: Add, tmp_path: Path, sql: str
) -> None:
    sync = make_sync(tmp_path, sql)
    [finding] = check_sync(sync, RUN_DAY, ask=False)
    assert (finding.level, finding.what) == (Level.ERROR, "query")
    assert finding.said.startswith(f"{sync.query.name}: running the query: ")
    assert "nowhere" in finding.said


def test_a_database_that_is_away_is_no_finding_but_tried_again(
    connections: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"conn_type": "mysql", "host": "127.0.0.1", "port": free_port(), "login": "nobody"}
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(away))
    with pytest.raises(SourceUnavailable):
        check_sync(make_sync(tmp_path), RUN_DAY, ask=False)


@pytest.mark.parametrize(
    ("sql", "level"),
    [
        ("SELECT email FROM views", "ok"),
        ("SELECT email, page FROM views", "error"),
        ("SELECT id AS user_id FROM views", "error"),
        ("SELECT event_time AS email FROM views", "error"),
        ("SELECT email FROM nowhere", "error"),
    ],
)
def test_the_query_of_people_is_looked_at_too(
    connections: Callable[..., None], views: Add, tmp_path: Path, sql: str, level: str
) -> None:
    people = tmp_path / "people.sql"
    people.write_text(sql)
    assert levels(make_sync(tmp_path, consent=Consent(query=people)), ask=False) == [
        ("ok", "query"),
        (level, "consent"),
    ]


def test_a_mirror_without_the_tasks_that_remove_fails_the_run(
    connections: Callable[..., None], views: Add, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    views("ada@example.com")
    sync = make_sync(
        tmp_path,
        "SELECT id AS view_id, email, first_name, candidate, event_time FROM views",
        mirror=Mirror(removal=DeleteUser()),
        destination=IterableDestination(email="email", user=UserUpdate((Field("first_name"),))),
    )
    finished = run(sync, tmp_path)
    assert (finished.state, finished.states("extract")) == ("failed", ["upstream_failed"])
    assert "mirror: the DAG has no FindLeavingOperator and no RemoveOperator" in capsys.readouterr().out


def test_no_row_is_read(connections: Callable[..., None], views: Add, tmp_path: Path) -> None:
    """Each row would take five seconds."""
    views("ada@example.com")
    views("ben@example.com")
    for query in (QUERY, f"WITH all_views AS ({QUERY}) SELECT * FROM all_views"):
        slow = query.replace("SELECT id", "SELECT SLEEP(5) AS slept, id")
        started = monotonic()
        assert levels(make_sync(tmp_path, slow), ask=False) == [("ok", "query")]
        assert monotonic() - started < 5


# --- The platform ----------------------------------------------------------------------------------------------


def test_fields_of_another_type_fail_the_task_before_anything_is_read(
    connections: Callable[..., None],
    views: Add,
    sandbox: SandboxServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    views("ada@example.com")
    sandbox.post("/api/users/update", {"email": "early@example.com", "dataFields": {"candidate": "yes"}})
    finished = run(make_sync(tmp_path), tmp_path)
    assert finished.state == "failed"
    assert (finished.states("check"), finished.tries("check")) == (["failed"], 1)
    assert finished.states("extract") == ["upstream_failed"]
    assert "field candidate: string in the project, the mapping sends boolean" in capsys.readouterr().out
    assert len(sandbox.users()) == 1


def test_warnings_fail_nothing_and_are_counted(
    connections: Callable[..., None], views: Add, sandbox: SandboxServer, tmp_path: Path
) -> None:
    finished = run(make_sync(tmp_path), tmp_path)
    assert finished.state == "success"
    assert finished.xcom("check") == {"ok": 2, "warning": 3, "error": 0}
    assert sandbox.users() == []


def test_a_refused_key_fails_the_task_without_retry(
    connections: Callable[..., None], views: Add, sandbox: SandboxServer, tmp_path: Path
) -> None:
    connections(password=DISABLED_KEY)
    finished = run(make_sync(tmp_path), tmp_path)
    assert (finished.states("check"), finished.tries("check")) == (["failed"], 1)
    assert sandbox.stats()["requests_total"] == 1


def test_a_platform_that_is_down_for_a_while_is_tried_again(
    connections: Callable[..., None], views: Add, sandbox: SandboxServer, tmp_path: Path
) -> None:
    sandbox.faults([{"kind": "status", "status": 503, "times": 3}])
    finished = run(make_sync(tmp_path), tmp_path)
    assert finished.state == "success"
    assert finished.tries("check") == 2


def test_a_dry_run_sends_no_request(
    connections: Callable[..., None], views: Add, sandbox: SandboxServer, tmp_path: Path
) -> None:
    finished = run(make_sync(tmp_path), tmp_path, dry_run=True)
    assert finished.state == "success"
    assert finished.xcom("check") == {"ok": 1, "warning": 0, "error": 0}
    assert sandbox.stats()["requests_total"] == 0


def test_a_sync_for_customer_io_is_checked_by_name(
    connections: Callable[..., None],
    views: Add,
    sandbox: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = {"conn_type": "customerio", "host": sandbox.url, "password": CUSTOMERIO_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERIO_DEFAULT", json.dumps(connection))
    good = CustomerIODestination(user_id="email", identify=Identify((Field("first_name"),)))
    bad = CustomerIODestination(user_id="email", identify=Identify((Field("createdAt", "candidate"),)))
    assert levels(make_sync(tmp_path, destination=good)) == [("ok", "query"), ("ok", "connection"), ("ok", "fields")]
    assert levels(make_sync(tmp_path, destination=bad))[-1] == ("error", "trait createdAt")
    assert sandbox.customerio.people() == []


def test_a_destination_without_checks_says_so(connections: Callable[..., None], views: Add, tmp_path: Path) -> None:
    class Bare(IterableDestination):
        hook_class = "tests.operators.test_check.BareHook"

    destination = Bare(email="email", user=UserUpdate((Field("first_name"),)))
    findings = check_sync(make_sync(tmp_path, destination=destination), RUN_DAY, ask=True)
    assert [finding.level for finding in findings] == [Level.OK, Level.WARNING]


class BareHook:
    """A hook of somebody else's destination."""

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id


PER_PERSON = QUERY.replace("SELECT id AS view_id, email", "SELECT id AS view_id, email, DATE(event_time) AS day")


def of_customerio(*ids: str) -> CustomerIODestination:
    return CustomerIODestination(user_id="email", track=Track("views_of_day", timestamp="event_time", id_columns=ids))


@pytest.mark.parametrize(
    ("changes", "warns"),
    [
        ({"key": ("email",)}, True),
        ({"key": ("email",), "destination": of_customerio()}, True),
        ({"destination": of_customerio("email")}, True),
        ({"key": ("email",), "destination": of_customerio("email", "day")}, False),
        ({"key": ("email", "day"), "destination": of_customerio()}, False),
        ({"destination": of_customerio()}, False),
        ({"key": ("email",), "destination": IterableDestination("email", user=UserUpdate((Field("page"),)))}, False),
        ({"key": ("email",), "query": "SELECT email, first_name, candidate, page, event_time FROM views"}, False),
    ],
)
def test_an_event_that_a_person_can_have_only_once_is_warned_of(
    connections: Callable[..., None], views: Add, tmp_path: Path, changes: dict[str, Any], warns: bool
) -> None:
    found = levels(make_sync(tmp_path, **{"query": PER_PERSON, **changes}), ask=False)
    assert (("warning", "event id") in found) is warns
