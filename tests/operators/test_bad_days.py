"""What may go wrong with source, rows, platform and configuration, each in a whole run."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, ClassVar

import orjson
import pyarrow.parquet as pq
import pytest

from devstack.database import PrivateServer
from reverse_etl.delivery.pacing import Paces
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.iterable.hook import IterableHook
from reverse_etl.mapping import Field
from reverse_etl.operators.deliver import DeliverOperator
from reverse_etl.sandbox.testing import DISABLED_KEY, JWT_KEY, JWT_SECRET, READONLY_KEY, SandboxServer
from tests.operators.conftest import QUERY, Finished, default_destination, local

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Shop = Callable[..., list[tuple[Any, ...]]]
INSERT = "INSERT INTO views (email, first_name, candidate, page, event_time) VALUES (%s, %s, %s, %s, %s)"


@pytest.fixture
def views(shop: Shop) -> Iterator[Callable[..., None]]:
    """Make an empty table of page views; return a function that adds one."""
    shop("DROP TABLE IF EXISTS views")
    shop(
        "CREATE TABLE views (id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(200), first_name MEDIUMTEXT,"
        " candidate TINYINT, page VARCHAR(50), event_time DATETIME)"
    )

    def add(email: str | None, first_name: str | None = "Ada", candidate: int = 1, when: str | None = None) -> None:
        shop(INSERT, email, first_name, candidate, "pricing", when or "2026-01-13 08:00:00")

    yield add
    shop("DROP TABLE views")


def add_many(shop: Shop, count: int) -> None:
    shop(
        "INSERT INTO views (email, first_name, candidate, page, event_time)"
        f" SELECT CONCAT('p', seq, '@example.com'), 'Ada', 1, 'pricing', '2026-01-13 08:00:00' FROM seq_1_to_{count}"
    )


def reasons(finished: Finished) -> dict[str, int]:
    summary = orjson.loads(local(finished.result["json"]).read_bytes())
    return {reason["code"]: reason["rows"] for reason in summary["reasons"]}


# --- The account -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["no-such-key", READONLY_KEY, DISABLED_KEY])
def test_a_key_that_may_not_write_stops_at_once_without_retry(
    run_sync: Run, connections: Callable[..., None], views: Callable[..., None], sandbox: SandboxServer, key: str
) -> None:
    for number in range(10):
        views(f"p{number}@example.com")
    connections(password=key)
    finished = run_sync()
    assert finished.state == "failed"
    assert finished.tries("deliver") == 1
    assert sandbox.stats()["requests_total"] == 1
    assert finished.counts == {"read": 10, "failed": 10}
    assert any("batch 0 stopped" in problem and "BadApiKey" in problem for problem in finished.result["problems"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": ""}, "the connection has no API key"),
        ({"host": "http://192.0.2.1"}, "host http://192.0.2.1 would send the key unencrypted"),
        ({"extra": {"regoin": "eu"}}, "the connection's extra holds regoin"),
    ],
)
def test_a_bad_connection_fails_without_retry(
    run_sync: Run,
    connections: Callable[..., None],
    views: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
) -> None:
    views("ada@example.com")
    connections(**changes)
    finished = run_sync()
    assert finished.state == "failed"
    assert finished.tries("deliver") == 1
    assert finished.counts == {"read": 1, "failed": 1}
    assert f"connection iterable_default: {message}" in capsys.readouterr().out


def test_a_jwt_key_delivers_with_its_secret(
    run_sync: Run, connections: Callable[..., None], views: Callable[..., None], sandbox: SandboxServer
) -> None:
    views("ada@example.com")
    connections(password=JWT_KEY, extra={"jwt_secret": JWT_SECRET})
    assert run_sync().counts == {"read": 1, "delivered": 1}
    assert len(sandbox.events()) == 1


# --- The platform ----------------------------------------------------------------------------------------------


def test_an_unreachable_host_is_retried_and_then_fails_with_every_row_accounted_for(
    run_sync: Run, connections: Callable[..., None], views: Callable[..., None]
) -> None:
    for number in range(5):
        views(f"p{number}@example.com")
    connections(host="http://127.0.0.1:9", extra={"tries": 1})
    finished = run_sync()
    assert finished.state == "failed"
    assert finished.tries("deliver") == 2
    assert finished.counts == {"read": 5, "failed": 5}
    assert reasons(finished) == {"connection_refused": 3, "not_sent": 2}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "0.05"}},
        {"kind": "reset"},
        {"kind": "garbage"},
        {"kind": "html", "status": 502},
        {"kind": "lost_reply"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}",
)
def test_a_platform_with_hiccups_loses_and_doubles_nothing(
    run_sync: Run, shop: Shop, views: Callable[..., None], sandbox: SandboxServer, fault: dict[str, Any]
) -> None:
    add_many(shop, 60)
    sandbox.faults([{**fault, "probability": 0.1, "seed": 7, "times": 12}])
    finished = run_sync()
    assert finished.counts == {"read": 60, "delivered": 60}
    assert len(sandbox.users()) == 60
    assert len({event["id"] for event in sandbox.events()}) == len(sandbox.events()) == 60


def test_a_hanging_platform_costs_only_the_rows_it_hangs_on(
    run_sync: Run,
    connections: Callable[..., None],
    shop: Shop,
    views: Callable[..., None],
    sandbox: SandboxServer,
) -> None:
    add_many(shop, 40)
    connections(extra={"timeout": 0.3, "tries": 1})
    sandbox.faults([{"kind": "hang", "match_email": "p7@example.com"}])
    finished = run_sync()
    assert finished.counts == {"read": 40, "delivered": 39, "failed": 1}
    assert reasons(finished) == {"timeout": 1}
    assert finished.state == "success"


def test_a_forgotten_person_is_suppressed_and_fails_nothing(
    run_sync: Run, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    views("ada@example.com")
    views("bob@example.com")
    sandbox.post("/api/users/update", {"email": "bob@example.com"})
    sandbox.post("/api/users/forget", {"email": "bob@example.com"})
    finished = run_sync()
    assert finished.state == "success"
    assert finished.counts == {"read": 2, "delivered": 1, "suppressed": 1}


def test_a_disallowed_event_is_a_partial_failure(
    run_sync: Run, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    views("ada@example.com")
    sandbox.settings(disallowed_event_names=["page_view"])
    finished = run_sync()
    assert finished.state == "failed"
    assert reasons(finished) == {"event_disallowed": 1}
    totals = orjson.loads(local(finished.result["json"]).read_bytes())["totals"]
    assert (totals["partial_failures"], totals["total_failures"]) == (1, 0)


# --- The rows --------------------------------------------------------------------------------------------------


def test_bad_rows_end_invalid_each_with_its_reason_and_the_good_ones_arrive(
    run_sync: Run, shop: Shop, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    add_many(shop, 100)
    for email in (None, "", "not an e-mail", "None"):
        views(email)
    views("bad.flag@example.com", candidate=2)
    finished = run_sync()
    assert finished.state == "success"
    assert finished.counts == {"read": 105, "delivered": 100, "invalid": 5}
    assert reasons(finished) == {"identifier_missing": 2, "email_malformed": 2, "not_a_boolean": 1}
    assert len(sandbox.users()) == 100


def test_too_many_bad_rows_fail_the_run_and_the_message_names_the_reasons(
    run_sync: Run, views: Callable[..., None]
) -> None:
    for email in ("ada@example.com", "x", "y", None):
        views(email)
    finished = run_sync()
    assert finished.state == "failed"
    assert finished.tries("report") == 1
    (problem,) = finished.result["problems"]
    assert problem.startswith("3 of 4 rows were not delivered, more than the share of 5.0%")
    assert "invalid email_malformed (2), invalid identifier_missing (1)" in problem


def test_a_row_the_platform_refuses_stops_no_other(
    run_sync: Run, shop: Shop, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    sandbox.post("/api/users/update", {"email": "early@example.com", "dataFields": {"candidate": True}})
    body = {"msg": "no", "code": "RequestFieldsTypesMismatched", "params": None}
    sandbox.faults([{"kind": "status", "status": 400, "body": body, "match_email": "p50@example.com"}])
    add_many(shop, 100)
    finished = run_sync()
    assert finished.state == "success"
    assert finished.counts == {"read": 100, "delivered": 99, "rejected": 1}
    assert reasons(finished) == {"RequestFieldsTypesMismatched": 1}


TEXTS = ["Zoë", "渡辺 健二", "🎉👩‍👩‍👧", "x" * 65_536, "", "None", 'O\'Brien \\ "quoted"', "a\nb\tc\x01", None]


def test_any_text_arrives_as_it_is(run_sync: Run, views: Callable[..., None], sandbox: SandboxServer) -> None:
    for number, text in enumerate(TEXTS):
        views(f"p{number}@example.com", first_name=text)
    finished = run_sync()
    assert finished.counts == {"read": len(TEXTS), "delivered": len(TEXTS)}
    arrived = {user["email"]: user["dataFields"].get("first_name") for user in sandbox.users()}
    assert arrived == {f"p{number}@example.com": text for number, text in enumerate(TEXTS)}


def test_rows_of_one_person_in_different_case_go_one_after_the_other(
    run_sync: Run, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    sandbox.settings(latency_ms=5)
    for number in range(30):
        views("Ada@Example.com" if number % 2 else "ada@example.COM", first_name=f"Ada {number}")
    finished = run_sync()
    assert finished.counts == {"read": 30, "delivered": 30}
    assert sandbox.stats()["person_overlaps"] == 0
    assert [user["dataFields"]["first_name"] for user in sandbox.users()] == ["Ada 29"]
    assert len(sandbox.events()) == 30


def test_null_deletes_the_field_of_a_profile(run_sync: Run, views: Callable[..., None], sandbox: SandboxServer) -> None:
    sandbox.post("/api/users/update", {"email": "ada@example.com", "dataFields": {"first_name": "Ada"}})
    views("ada@example.com", first_name=None)
    run_sync()
    assert "first_name" not in sandbox.users()[0]["dataFields"]


def test_a_cell_that_looks_like_a_formula_is_harmless_in_the_csv_and_untouched_in_the_call(
    run_sync: Run, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    views("ada@example.com", first_name="=HYPERLINK(0)")
    finished = run_sync()
    with local(finished.result["csv"]).open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["first_name"] == "'=HYPERLINK(0)"
    assert sandbox.users()[0]["dataFields"]["first_name"] == "=HYPERLINK(0)"


# --- The source ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 1 FROM", "1064"),
        ("SELECT * FROM no_such_table", "1146"),
        ("", "the SQL file holds no statement"),
        ("SELECT 1 AS view_id; DROP TABLE views", "the SQL file holds a second statement"),
        ("DELETE FROM views", "starts with SELECT or WITH"),
        (QUERY.replace("%(window_start)s", "%(start)s"), "start"),
        (QUERY.replace("email,", ""), "views.sql gives no column email, which sync views needs"),
        (QUERY.replace("event_time FROM", "'soon' AS event_time FROM"), "EventTrack.created_at needs datetime"),
        (QUERY.replace("first_name,", "CAST('x' AS BINARY) AS first_name,"), "which has no form in JSON"),
    ],
)
def test_a_query_that_cannot_be_used_fails_at_once_and_says_why(
    run_sync: Run,
    views: Callable[..., None],
    sandbox: SandboxServer,
    capsys: pytest.CaptureFixture[str],
    query: str,
    message: str,
) -> None:
    views("ada@example.com")
    finished = run_sync(query)
    assert finished.state == "failed"
    assert finished.states("extract") == ["failed"]
    assert finished.tries("extract") == 1
    assert finished.states("report") == ["failed"]
    assert message in capsys.readouterr().out
    assert sandbox.stats()["requests_total"] == 0


def test_a_database_that_refuses_connections_is_retried(run_sync: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "mysql", "host": "127.0.0.1", "port": 9, "login": "x", "password": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", orjson.dumps(connection).decode())
    finished = run_sync()
    assert finished.state == "failed"
    assert finished.tries("extract") == 2


def test_a_database_gone_in_the_middle_of_the_extract_is_retried_and_nothing_is_lost(
    run_sync: Run, shop: Shop, views: Callable[..., None], server: PrivateServer, sandbox: SandboxServer
) -> None:
    add_many(shop, 400)
    slow = QUERY.replace("SELECT id", "SELECT SLEEP(0.005) AS pause, id")
    stop = threading.Event()

    def kill_once() -> None:
        with closing(server.connect("mysql")) as connection, connection.cursor() as cursor:
            while not stop.wait(0.02):
                cursor.execute(
                    "SELECT id FROM information_schema.processlist"
                    " WHERE info LIKE '%SLEEP(0.005)%' AND id <> CONNECTION_ID()"
                )
                if found := cursor.fetchone():
                    cursor.execute(f"KILL {found[0]}")
                    return

    killer = threading.Thread(target=kill_once)
    killer.start()
    try:
        finished = run_sync(slow)
    finally:
        stop.set()
        killer.join()
    assert finished.state == "success"
    assert finished.tries("extract") == 2
    assert finished.counts == {"read": 400, "delivered": 400}
    assert len(sandbox.events()) == 400


# --- Ourselves -------------------------------------------------------------------------------------------------


class CrashingHook(IterableHook):
    """Ends a deliver task the hard way, as a bug of ours would."""

    def client(self, paces: Paces | None = None) -> IterableClient:
        raise RuntimeError("a bug")


class CrashingDestination(IterableDestination):
    """The default destination with the hook that crashes."""

    hook_class: ClassVar[str] = f"{__name__}.CrashingHook"


class DeadOperator(DeliverOperator):
    """Ends before it can leave any result, as a killed process would."""

    def execute(self, context: Any) -> None:
        raise RuntimeError("killed")


def test_a_task_that_dies_without_a_word_leaves_no_row_unaccounted_for(
    run_sync: Run, views: Callable[..., None]
) -> None:
    views("ada@example.com")
    views("bob@example.com")
    finished = run_sync(deliver=DeadOperator)
    assert finished.state == "failed"
    assert finished.counts == {"read": 2, "failed": 2}
    assert reasons(finished) == {"no_result": 2}


def test_a_task_that_crashes_leaves_no_row_unaccounted_for(run_sync: Run, views: Callable[..., None]) -> None:
    views("ada@example.com")
    views("bob@example.com")
    plain = default_destination()
    finished = run_sync(
        destination=CrashingDestination(email="email", user=plain.user, event=plain.event, calls="single")
    )
    assert finished.state == "failed"
    assert finished.tries("deliver") == 2
    assert finished.counts == {"read": 2, "failed": 2}
    assert reasons(finished) == {"not_sent": 2}
    assert any("1 deliver task(s) failed" in problem for problem in finished.result["problems"])


def test_staging_that_cannot_be_written_fails_with_the_path(
    run_sync: Run, views: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    views("ada@example.com")
    monkeypatch.setenv("AIRFLOW__REVERSE_ETL__STAGING_PATH", "file:///proc/staging")
    finished = run_sync()
    assert finished.state == "failed"
    assert "file:///proc/staging" in capsys.readouterr().out


def test_a_missing_hash_key_says_which_setting_is_missing(
    run_sync: Run, views: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    views("ada@example.com")
    monkeypatch.delenv("AIRFLOW__REVERSE_ETL__HASH_KEY")
    finished = run_sync()
    assert finished.state == "failed"
    assert "AIRFLOW__REVERSE_ETL__HASH_KEY" in capsys.readouterr().out


def test_the_complete_set_of_results_is_in_the_parquet(run_sync: Run, shop: Shop, views: Callable[..., None]) -> None:
    add_many(shop, 1200)
    finished = run_sync(batch_rows=500)
    assert pq.read_metadata(local(finished.result["parquet"])).num_rows == 1200
    records = orjson.loads(local(finished.result["json"]).read_bytes())["records"]
    assert len(records) == 1000


def test_a_sync_without_events_only_updates(run_sync: Run, views: Callable[..., None], sandbox: SandboxServer) -> None:
    views("ada@example.com")
    only_users = IterableDestination(email="email", user=UserUpdate((Field("first_name"),)))
    assert run_sync(destination=only_users).counts == {"read": 1, "delivered": 1}
    only_events = IterableDestination(email="email", event=EventTrack("seen", created_at="event_time"))
    assert run_sync(destination=only_events).counts == {"read": 1, "delivered": 1}
    assert (len(sandbox.users()), len(sandbox.events())) == (1, 1)


@pytest.mark.parametrize("changed", ["column", "type", "key"])
def test_a_sync_changed_between_two_tries_says_what_its_batch_lacks_and_refuses_no_row(
    run_sync: Run,
    views: Callable[..., None],
    sandbox: SandboxServer,
    capsys: pytest.CaptureFixture[str],
    changed: str,
) -> None:
    class Changed(DeliverOperator):
        def execute(self, context: Any) -> None:
            if context["ti"].try_number == 2:
                self.sync = self.later()
            super().execute(context)

        def later(self) -> Any:
            if changed == "key":
                return replace(self.sync, key=("company",))
            destination: Any = self.sync.destination
            more = Field("company") if changed == "column" else Field("event_time", kind="integer")
            user = replace(destination.user, fields=(*destination.user.fields, more))
            return replace(self.sync, destination=replace(destination, user=user))

    views("ada@example.com")
    sandbox.faults([{"kind": "status", "status": 503, "times": 3}])
    finished = run_sync(deliver=Changed)
    assert (finished.state, finished.states("deliver")) == ("failed", ["failed"])
    said = "column event_time holds datetime" if changed == "type" else "views.sql gives no column company"
    out = capsys.readouterr().out
    assert f"batch 0 was read before sync views was changed: {said}" in out
    assert "clear the extract task to read its rows again" in out
    assert sandbox.users() == []
