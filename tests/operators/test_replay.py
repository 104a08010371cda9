"""Rows that were refused go out again by the DAG that replays them, in whole runs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from devstack.database import PrivateServer
from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import Marked, QuarantinedCall, RunRef
from reverse_etl.operators.base import hash_key
from reverse_etl.operators.replay import LONGEST_RUN_ID, ReplayRun, Wanted, parse_since, reread, select
from reverse_etl.operators.replay_tasks import (
    ReplayBatchOperator,
    ReplayReportOperator,
    ReReadOperator,
    SelectOperator,
    replay_params,
)
from reverse_etl.operators.syncs import find_sync
from reverse_etl.sandbox.testing import SandboxServer
from tests.conftest import ROOT
from tests.database import run as run_sql
from tests.operators.conftest import QUERY, Finished, register
from tests.operators.dag_files import write_dag
from tests.operators.test_bad_days import views

__all__ = ["views"]

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Add = Callable[..., None]
Shop = Callable[..., list[tuple[Any, ...]]]
LATER = "2026-01-21"


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGs folder with the very sync `run_sync` runs."""
    folder = tmp_path / "dags"
    write_dag(folder)
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))
    return folder


@pytest.fixture
def replay(connections: Callable[..., None], dags: Path, tmp_path: Path) -> Run:
    """Return a function that runs the tasks of the DAG with one retry and no waiting."""

    def run(deliver: type[ReplayBatchOperator] = ReplayBatchOperator, **params: object) -> Finished:
        from airflow.sdk import DAG, chain

        with DAG(
            "replay_views",
            schedule=None,
            start_date=datetime(2020, 1, 1, tzinfo=UTC),
            params=replay_params(),
            default_args={"retries": 1, "retry_delay": timedelta(0)},
        ) as dag:
            re_read = ReReadOperator(task_id="re_read")
            delivering = deliver.over(re_read.output, task_id="deliver")
            chain(SelectOperator(task_id="select"), re_read, delivering, ReplayReportOperator(task_id="report"))
        register(dag)
        return Finished(dag.test(run_conf={"sync": "views", **params}), tmp_path / "output")

    return run


@pytest.fixture
def quarantine(tmp_path: Path) -> Callable[[], list[QuarantinedCall]]:
    """Return a function that lists the quarantine of the sync."""

    def listed() -> list[QuarantinedCall]:
        with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
            return list(ledger.quarantine.calls("views"))

    return listed


Quarantine = Callable[[], list[QuarantinedCall]]


def mend(shop: Shop) -> None:
    shop("UPDATE views SET email = CONCAT('mended', id, '@example.com') WHERE email NOT LIKE '%@%'")


# --- Nothing to send -------------------------------------------------------------------------------------------


def test_an_unknown_sync_fails_at_once_and_names_those_there_are(
    replay: Run, sandbox: SandboxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = replay(sync="view")
    assert finished.state == "failed"
    assert finished.tries("select") == 1
    assert "no DAG has a sync named 'view'; there are views" in capsys.readouterr().out
    assert sandbox.stats()["requests_total"] == 0


def test_a_replay_without_a_sync_does_not_begin(replay: Run) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError, match="sync"):
        replay(sync="")


def test_a_misspelt_param_is_refused(replay: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(reasons="email_malformed").state == "failed"
    assert "the run was given reasons, which the DAG does not know" in capsys.readouterr().out


def test_an_empty_quarantine_is_a_good_replay(replay: Run, sandbox: SandboxServer) -> None:
    finished = replay()
    assert finished.state == "success"
    assert finished.xcom("select") == {"calls": [], "days": [], "forgotten": 0}
    assert finished.result["totals"]["read"] == finished.result["in_quarantine"] == 0
    assert sandbox.stats()["requests_total"] == 0


def test_a_dry_run_counts_and_sends_nothing(
    run_sync: Run, replay: Run, views: Add, sandbox: SandboxServer, quarantine: Quarantine, shop: Shop
) -> None:
    views("ada@example.com")
    views("malformed")
    run_sync()
    mend(shop)
    before, requests = quarantine(), sandbox.stats()["requests_total"]
    finished = replay(dry_run=True)
    assert finished.state == "success"
    assert finished.states("re_read") == finished.states("deliver") == ["skipped"]
    assert finished.result["selected"] == {
        "calls": [{"outcome": "invalid", "code": "email_malformed", "calls": 1}],
        "days": [{"day": "2026-01-13", "window_days": 7, "rows": 1}],
        "forgotten": 0,
    }
    assert (quarantine(), sandbox.stats()["requests_total"]) == (before, requests)


# --- What becomes of a row -------------------------------------------------------------------------------------


def test_a_row_mended_in_the_source_is_delivered_and_leaves(
    run_sync: Run, replay: Run, views: Add, shop: Shop, sandbox: SandboxServer, quarantine: Quarantine
) -> None:
    views("ada@example.com")
    views("malformed")
    run_sync()
    assert [call.code for call in quarantine()] == ["email_malformed"]
    mend(shop)
    finished = replay()
    assert finished.state == "success"
    assert finished.counts == {"read": 1, "delivered": 1}
    assert quarantine() == []
    assert {user["email"] for user in sandbox.users()} == {"ada@example.com", "mended2@example.com"}
    assert len(sandbox.events()) == 2


def test_a_key_that_has_come_to_name_two_rows_is_refused_and_nothing_is_sent(
    run_sync: Run, replay: Run, dags: Path, views: Add, sandbox: SandboxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    views("nobody")
    run_sync()
    before = sandbox.stats()["requests_total"]
    write_dag(dags, query=QUERY.replace("FROM views", "FROM views JOIN (SELECT 1 AS n UNION SELECT 2) AS twice"))
    finished = replay()
    assert finished.states("re_read") == ["failed"]
    assert "1 rows have the key of another row" in capsys.readouterr().out
    assert sandbox.stats()["requests_total"] == before


def test_a_row_that_is_still_bad_stays_under_its_day(
    run_sync: Run, replay: Run, views: Add, quarantine: Quarantine
) -> None:
    views("malformed")
    run_sync()
    [first] = quarantine()
    assert replay().state == "success"
    finished = replay()
    [third] = quarantine()
    assert finished.counts == {"read": 1, "invalid": 1}
    assert finished.result["in_quarantine"] == 1
    assert (third.tries, third.first_seen, third.day, third.window_days) == (3, first.first_seen, date(2026, 1, 13), 7)
    assert third.last_seen > first.last_seen
    assert third.dag_id == "replay_views"


def test_a_row_that_is_gone_from_the_source_stays_and_is_counted(
    run_sync: Run, replay: Run, views: Add, shop: Shop, quarantine: Quarantine
) -> None:
    views("malformed")
    views("also malformed")
    run_sync()
    before = quarantine()
    shop("DELETE FROM views WHERE id = 1")
    mend(shop)
    finished = replay()
    assert finished.state == "success"
    assert finished.counts == {"read": 1, "delivered": 1}
    assert finished.result["not_in_source"] == finished.result["in_quarantine"] == 1
    assert [call for call in before if call in quarantine()] == quarantine()


def test_a_row_the_platform_refuses_again_is_told_apart_from_a_failure(
    run_sync: Run, replay: Run, views: Add, sandbox: SandboxServer, quarantine: Quarantine
) -> None:
    views("ada@example.com")
    fault = {"path": "/api/events/track", "kind": "status", "status": 400, "match_email": "ada@example.com"}
    sandbox.faults([fault])
    run_sync()
    assert [(call.call, call.outcome, call.status) for call in quarantine()] == [("event_track", Outcome.REJECTED, 400)]
    assert replay().counts == {"read": 1, "rejected": 1}
    sandbox.faults([])
    assert replay().counts == {"read": 1, "delivered": 1}
    assert quarantine() == []


def test_rows_of_two_days_are_read_by_their_days_and_the_oldest_goes_first(
    run_sync: Run, replay: Run, views: Add, shop: Shop, sandbox: SandboxServer, quarantine: Quarantine
) -> None:
    views("malformed")
    views("malformed too", when=f"{LATER} 08:00:00")
    assert run_sync(date=LATER, window_days=1).counts == {"read": 1, "invalid": 1}
    assert run_sync().counts == {"read": 1, "invalid": 1}
    mend(shop)
    finished = replay()
    assert finished.counts == {"read": 2, "delivered": 2}
    batches = finished.xcom("re_read")
    assert [(batch["index"], batch["day"], batch["window_days"]) for batch in batches] == [
        (0, "2026-01-13", 7),
        (1, LATER, 1),
    ]
    assert quarantine() == []
    assert len(sandbox.events()) == 2


def test_batches_have_as_many_rows_as_asked_for(
    run_sync: Run, replay: Run, views: Add, shop: Shop, quarantine: Quarantine
) -> None:
    for number in range(5):
        views(f"malformed {number}")
    run_sync()
    mend(shop)
    finished = replay(batch_rows=2)
    assert [batch["rows"] for batch in finished.xcom("re_read")] == [2, 2, 1]
    assert finished.counts == {"read": 5, "delivered": 5}
    assert quarantine() == []


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        ({"reason": "email_malformed"}, 1),
        ({"reason": "identifier_missing"}, 1),
        ({"reason": "no_such_reason"}, 0),
        ({"since": "2026-01-13"}, 2),
        ({"since": "2100-01-01"}, 0),
        ({"reason": "email_malformed", "since": "2100-01-01"}, 0),
    ],
)
def test_only_what_is_asked_for_is_sent(
    run_sync: Run, replay: Run, views: Add, shop: Shop, quarantine: Quarantine, params: dict[str, str], sent: int
) -> None:
    views("malformed")
    views(None)
    run_sync()
    shop("UPDATE views SET email = CONCAT('mended', id, '@example.com')")
    assert replay(**params).result["totals"]["delivered"] == sent
    assert len(quarantine()) == 2 - sent


# --- What goes wrong -------------------------------------------------------------------------------------------


def test_a_wrong_key_quarantines_nothing_and_changes_nothing(
    run_sync: Run,
    replay: Run,
    connections: Callable[..., None],
    views: Add,
    shop: Shop,
    sandbox: SandboxServer,
    quarantine: Quarantine,
) -> None:
    for number in range(6):
        views(f"malformed {number}")
    run_sync()
    mend(shop)
    before = quarantine()
    connections(password="no-such-key")
    finished = replay(batch_rows=2)
    assert finished.state == "failed"
    assert finished.counts == {"read": 6, "failed": 6}
    assert any("BadApiKey" in problem for problem in finished.result["problems"])
    assert sandbox.stats()["requests_total"] == 1
    assert quarantine() == before
    connections()
    assert replay().counts == {"read": 6, "delivered": 6}


def test_a_retry_of_the_task_sends_only_what_is_missing(
    run_sync: Run,
    replay: Run,
    connections: Callable[..., None],
    views: Add,
    shop: Shop,
    sandbox: SandboxServer,
    quarantine: Quarantine,
) -> None:
    for number in range(3):
        views(f"malformed {number}")
    run_sync()
    mend(shop)
    connections(extra={"tries": 1})
    fault = {"path": "/api/events/track", "kind": "status", "status": 503, "times": 1}
    sandbox.faults([fault | {"match_email": "mended2@example.com"}])
    finished = replay()
    assert finished.state == "success"
    assert finished.tries("deliver") == 2
    assert finished.counts == {"read": 3, "delivered": 3}
    assert sandbox.stats()["requests_total"] == 3 + 3 + 1
    assert quarantine() == []


class EndsWithoutAWord(ReplayBatchOperator):
    """Delivers its batch and is gone before it can tell."""

    def execute(self, context: Any) -> None:
        from reverse_etl.operators.replay import ReplayBatch, replay_batch

        replay_batch(self._sync(context), ReplayBatch(**self.batch), self._run(context), self.log)
        raise ConfigurationError("gone")


def test_rows_of_a_task_that_ended_without_a_word_are_what_the_ledger_says(
    run_sync: Run, replay: Run, views: Add, shop: Shop, sandbox: SandboxServer, quarantine: Quarantine
) -> None:
    views("malformed")
    run_sync()
    mend(shop)
    finished = replay(EndsWithoutAWord)
    assert finished.state == "failed"
    assert finished.counts == {"read": 1, "delivered": 1}
    assert finished.result["problems"] == ["1 deliver task(s) failed; their logs say why"]
    assert quarantine() == []
    assert len(sandbox.events()) == 1


def test_a_failed_row_fails_the_replay_and_stays(
    run_sync: Run, replay: Run, connections: Callable[..., None], views: Add, shop: Shop, quarantine: Quarantine
) -> None:
    views("malformed")
    run_sync()
    mend(shop)
    before = quarantine()
    connections(host="http://127.0.0.1:9", extra={"tries": 1})
    finished = replay()
    assert finished.state == "failed"
    assert finished.counts == {"read": 1, "failed": 1}
    assert quarantine() == before


# --- What is left behind ---------------------------------------------------------------------------------------


def test_no_key_and_nothing_personal_is_in_xcom_or_logs(
    run_sync: Run, replay: Run, views: Add, shop: Shop, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select as select_from

    views("malformed-quetzal")
    views("quetzal is still malformed", first_name="Quetzalcoatlina")
    run_sync()
    shop("UPDATE views SET email = 'quetzal@example.com' WHERE id = 1")
    with caplog.at_level("DEBUG"):
        finished = replay()
    assert finished.counts == {"read": 2, "delivered": 1, "invalid": 1}
    with create_session() as session:
        of_the_run = select_from(XComModel).where(XComModel.run_id == finished.run.run_id)
        stored = " ".join(json.dumps(found.value, default=str) for found in session.scalars(of_the_run))
    written = "".join(capsys.readouterr()) + caplog.text + stored
    assert "email_malformed" in stored
    assert "batch 0" in written
    assert "uetzal" not in written


def test_attempts_have_the_name_of_the_run_and_their_day(
    run_sync: Run, replay: Run, views: Add, tmp_path: Path
) -> None:
    from sqlalchemy import create_engine, text

    views("malformed")
    run_sync()
    finished = replay()
    engine = create_engine(f"sqlite:///{tmp_path}/ledger.db")
    with closing(engine.connect()) as connection:
        found = connection.execute(
            text("SELECT run_id, rows_read, invalid, finished IS NOT NULL FROM runs WHERE dag_id = 'replay_views'")
        ).all()
    engine.dispose()
    assert [tuple(row) for row in found] == [(f"{finished.run.run_id} 2026-01-13 7d", 1, 1, 1)]


def test_the_dag_of_the_project_replays(
    run_sync: Run, connections: Callable[..., None], dags: Path, views: Add, shop: Shop, quarantine: Quarantine
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    views("malformed")
    run_sync()
    mend(shop)
    bag = DagBag(str(ROOT / "dags/replay_quarantine.py"))
    dag = bag.dags["replay_quarantine"]
    register(dag)
    finished = Finished(dag.test(run_conf={"sync": "views"}), Path())
    assert finished.state == "success"
    assert finished.counts == {"read": 1, "delivered": 1}
    assert quarantine() == []


@pytest.fixture
def mariadb_ledger(server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], list[Any]]]:
    """A ledger on MariaDB, named by the connection as a user would; a function that asks it."""
    name = f"ledger_{uuid.uuid4().hex[:16]}"

    def administrator() -> Any:
        return server.connect("mysql")

    run_sql(
        administrator,
        f"CREATE DATABASE {name}",
        f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY 'a password'",
        f"GRANT ALL ON {name}.* TO {name}@'127.0.0.1'",
    )
    connection = server.airflow_connection() | {"login": name, "password": "a password", "schema": name, "extra": {}}
    monkeypatch.setenv("AIRFLOW_CONN_REVERSE_ETL_LEDGER", json.dumps(connection))

    def ask(query: str) -> list[Any]:
        with closing(server.connect(name)) as connected, connected.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    yield ask
    run_sql(administrator, f"DROP DATABASE {name}", f"DROP USER {name}@'127.0.0.1'")


def test_a_ledger_on_mariadb_gives_and_takes_the_rows(
    run_sync: Run, replay: Run, views: Add, shop: Shop, mariadb_ledger: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    views("malformed")
    views("also malformed")
    run_sync()
    shop("UPDATE views SET email = 'mended@example.com' WHERE id = 1")
    finished = replay()
    assert finished.counts == {"read": 2, "delivered": 1, "invalid": 1}
    assert mariadb_ledger("SELECT code, tries FROM quarantine") == [("email_malformed", 2)]
    assert not (tmp_path / "ledger.db").exists()


# --- Without a run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (None, None),
        ("", None),
        ("2026-01-13", datetime(2026, 1, 13, tzinfo=UTC)),
        ("2026-01-13T08:30+01:00", datetime(2026, 1, 13, 7, 30, tzinfo=UTC)),
    ],
)
def test_since_is_a_day_or_a_moment(text: str | None, moment: datetime | None) -> None:
    assert parse_since(text) == moment


def test_since_of_another_form_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"since is '13\.01\.2026', expected a day such as 2026-01-13"):
        parse_since("13.01.2026")


def test_a_long_run_id_still_names_its_attempts_apart() -> None:
    refs = [ReplayRun("dag", "x" * 249 + end).ref("views", date(2026, 1, 13), 366) for end in "ab"]
    assert refs[0].run_id != refs[1].run_id
    assert all(ref.run_id.startswith("x" * (LONGEST_RUN_ID - 20)) for ref in refs)


def mark(ledger: Ledger, day: date, window_days: int, *marks: tuple[int, str]) -> None:
    attempt = ledger.begin(RunRef("views", f"run of {day} {window_days}", "views", 0, day, window_days))
    hasher = hash_key()
    attempt.mark(0, [Marked(hasher((number,)), call, Outcome.REJECTED, "BadParams", 400, 1) for number, call in marks])


def test_a_row_refused_on_two_days_is_taken_once_from_the_latest_day_that_has_it(
    connections: Callable[..., None], dags: Path, views: Add, tmp_path: Path
) -> None:
    from airflow.sdk import ObjectStoragePath

    views("ada@example.com")
    views("bob@example.com")
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        mark(ledger, date(2026, 1, 13), 7, (1, "event_track"), (2, "event_track"))
        mark(ledger, date(2026, 1, 14), 7, (1, "user_update"))
        # A day whose window does not reach back to the row.
        mark(ledger, date(2026, 1, 30), 1, (2, "user_update"))
    wanted = Wanted("views")
    selection = select(wanted)
    assert selection.days == [("2026-01-13", 7, 2), ("2026-01-14", 7, 1), ("2026-01-30", 1, 1)]
    found = reread(find_sync("views", dags), wanted, ObjectStoragePath(f"file://{tmp_path}/rows"), batch_rows=10)
    assert [(batch.index, batch.day, batch.rows) for batch in found.batches] == [
        (0, "2026-01-13", 1),
        (1, "2026-01-14", 1),
    ]
    assert found.not_in_source == 0
