"""People not to contact, in whole runs on both platforms: nothing about them leaves, and every way back keeps to it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from reverse_etl.consent import Consent
from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.mapping import Field
from reverse_etl.operators.base import configured_folder, hash_key
from reverse_etl.operators.purge import purge_person
from reverse_etl.operators.replay import ReplayRun, Wanted, replay_batch, reread
from reverse_etl.operators.syncs import Syncs
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, SandboxServer
from reverse_etl.sync import Sync
from tests.operators.conftest import QUERY, Finished, default_destination, local
from tests.operators.test_bad_days import views

__all__ = ["views"]

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Add = Callable[..., None]
Shop = Callable[..., list[tuple[Any, ...]]]
WITH_COLUMN = QUERY.replace(
    "SELECT", "SELECT IF(first_name = 'No', 1, IF(first_name = 'Unasked', NULL, 0)) AS no_mail,"
)
COLUMN = Consent(column="no_mail")


def query(tmp_path: Path, sql: str, **named: str) -> Consent:
    path = tmp_path / "do_not_contact.sql"
    path.write_text(sql)
    return Consent(query=path, **named)


def customerio_destination(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> CustomerIODestination:
    connection = {"conn_type": "customerio", "host": sandbox.url, "password": CUSTOMERIO_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERIO_DEFAULT", json.dumps(connection))
    return CustomerIODestination(
        user_id="email",
        identify=Identify((Field("first_name"),)),
        track=Track("page_view", timestamp="event_time", fields=(Field("page"),)),
    )


def outcomes(finished: Finished) -> list[tuple[str, str]]:
    rows = pq.read_table(local(finished.result["parquet"])).to_pylist()
    return sorted((row["outcome"], row["code"]) for row in rows)


# --- What makes extract refuse ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT email, page FROM views", "do_not_contact.sql gives 2 columns, expected email, user_id or both"),
        ("SELECT id AS user_id FROM views", "do_not_contact.sql gives user_id, but the destination has no column"),
        ("SELECT event_time AS email FROM views", "column email holds datetime, but a query of people needs"),
        ("SELECT email FROM nowhere", "nowhere"),
    ],
)
def test_a_query_of_people_that_cannot_be_used_stops_the_run_before_anything_is_sent(
    run_sync: Run,
    views: Add,
    sandbox: SandboxServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    sql: str,
    said: str,
) -> None:
    views("ada@example.com")
    finished = run_sync(consent=query(tmp_path, sql))
    assert finished.state == "failed"
    assert (finished.states("extract"), finished.tries("extract")) == (["failed"], 1)
    assert said in capsys.readouterr().out
    assert sandbox.stats()["requests_total"] == 0


def test_batches_without_the_answer_are_not_sent(
    run_sync: Run, views: Add, sandbox: SandboxServer, tmp_path: Path
) -> None:
    """As when somebody removes files by hand."""
    from reverse_etl.operators.deliver import DeliverOperator

    class Forgetful(DeliverOperator):
        def execute(self, context: Any) -> None:
            for path in (tmp_path / "staging").rglob("no_consent-*"):
                path.unlink()
            super().execute(context)

    views("ada@example.com")
    finished = run_sync(WITH_COLUMN, consent=COLUMN, deliver=Forgetful)
    assert finished.state == "failed"
    assert sandbox.stats()["requests_total"] == 0


# --- Who is not contacted --------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", ["iterable", "customerio"])
@pytest.mark.parametrize("batch_rows", [1, 50_000])
def test_people_of_the_column_and_of_the_query_get_nothing(
    run_sync: Run,
    shop: Shop,
    views: Add,
    sandbox: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    batch_rows: int,
) -> None:
    for name, email in (("Yes", "yes"), ("No", "no"), ("Unasked", "unasked"), ("Listed", "Listed"), ("Yes", "too")):
        views(f"{email}@example.com", first_name=name)
    people = query(tmp_path, "SELECT ' LISTED@example.com' AS email UNION SELECT NULL UNION SELECT 'x@y.org'")
    consent = Consent(column="no_mail", query=people.query, email="email")
    destination = default_destination() if platform == "iterable" else customerio_destination(sandbox, monkeypatch)
    finished = run_sync(WITH_COLUMN, consent=consent, destination=destination, batch_rows=batch_rows)
    assert finished.state == "success"
    assert finished.counts == {"read": 5, "delivered": 2, "suppressed": 3}
    assert outcomes(finished) == [("delivered", "delivered")] * 2 + [("suppressed", "no_consent")] * 3
    if platform == "iterable":
        assert {user["email"] for user in sandbox.users()} == {"yes@example.com", "too@example.com"}
        assert len(sandbox.events()) == 2
    else:
        assert sandbox.customerio.count("people") == sandbox.customerio.count("events") == 2


def test_a_dry_run_counts_them_and_a_real_run_is_the_same(run_sync: Run, views: Add, sandbox: SandboxServer) -> None:
    for name in ("Yes", "No", "Unasked"):
        views(f"{name}@example.com", first_name=name)
    dry = run_sync(WITH_COLUMN, consent=COLUMN, dry_run=True)
    assert dry.counts == {"read": 3, "planned": 1, "suppressed": 2}
    assert sandbox.stats()["requests_total"] == 0
    assert run_sync(WITH_COLUMN, consent=COLUMN).counts == {"read": 3, "delivered": 1, "suppressed": 2}


def test_somebody_who_agrees_again_is_sent_although_nothing_changed(run_sync: Run, views: Add, shop: Shop) -> None:
    by_table = QUERY.replace("SELECT", "SELECT objects AS no_mail,").replace("FROM views", "FROM views JOIN asked")

    def ran() -> dict[str, int]:
        return run_sync(by_table, consent=COLUMN, sync_sends="changed").counts

    views("ada@example.com")
    shop("CREATE TABLE asked SELECT 0 AS objects")
    try:
        assert ran() == {"read": 1, "delivered": 1}
        shop("UPDATE asked SET objects = 1")
        assert ran() == {"read": 1, "suppressed": 1}
        shop("UPDATE asked SET objects = 0")
        assert ran() == {"read": 1, "delivered": 1}
        assert ran() == {"read": 1, "unchanged": 1}
    finally:
        shop("DROP TABLE asked")


def test_a_run_with_only_such_people_sends_no_request_and_is_good(
    run_sync: Run, views: Add, sandbox: SandboxServer
) -> None:
    views("no@example.com", first_name="No")
    finished = run_sync(WITH_COLUMN, consent=COLUMN)
    assert (finished.state, finished.counts) == ("success", {"read": 1, "suppressed": 1})
    assert sandbox.stats()["requests_total"] == 0


def test_a_run_without_rows_asks_for_nobody(run_sync: Run, views: Add, tmp_path: Path) -> None:
    finished = run_sync(consent=query(tmp_path, "SELECT email FROM views"))
    assert finished.state == "success"


def test_the_query_of_people_knows_the_day(run_sync: Run, views: Add, tmp_path: Path) -> None:
    views("ada@example.com")
    people = query(tmp_path, "SELECT email FROM views WHERE event_time < %(window_end)s")
    assert run_sync(consent=people).counts == {"read": 1, "suppressed": 1}


def test_the_ledger_has_the_outcome_and_quarantine_has_nobody(run_sync: Run, views: Add, tmp_path: Path) -> None:
    views("no@example.com", first_name="No")
    run_sync(WITH_COLUMN, consent=COLUMN)
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert list(ledger.quarantine.calls("views")) == []
        assert ledger.states("views", [hash_key()((1,))]) == {}


# --- Ways back -------------------------------------------------------------------------------------------------


def test_a_retry_keeps_to_what_extract_saw(
    run_sync: Run, shop: Shop, views: Add, sandbox: SandboxServer, tmp_path: Path
) -> None:
    views("ada@example.com")
    views("ben@example.com")
    shop("CREATE TABLE no_mail (email VARCHAR(200))")
    shop("INSERT INTO no_mail VALUES ('ben@example.com')")
    from reverse_etl.operators.deliver import DeliverOperator

    class Emptying(DeliverOperator):
        def execute(self, context: Any) -> None:
            shop("DELETE FROM no_mail")
            super().execute(context)

    sandbox.faults([{"kind": "status", "status": 503, "times": 3}])
    try:
        finished = run_sync(consent=query(tmp_path, "SELECT email FROM no_mail"), deliver=Emptying)
    finally:
        shop("DROP TABLE no_mail")
    assert finished.tries("deliver") == 2
    assert finished.counts == {"read": 2, "delivered": 1, "suppressed": 1}
    assert {user["email"] for user in sandbox.users()} == {"ada@example.com"}


def test_a_replay_sends_nothing_to_somebody_who_objected_meanwhile(
    run_sync: Run, shop: Shop, views: Add, sandbox: SandboxServer, tmp_path: Path
) -> None:
    views("malformed", first_name="Yes")
    views("malformed too", first_name="Yes")
    run_sync(WITH_COLUMN, consent=COLUMN)
    shop("UPDATE views SET email = CONCAT('mended', id, '@example.com')")
    shop("UPDATE views SET first_name = 'No' WHERE id = 2")
    sync = Sync(
        name="views", query=tmp_path / "views.sql", key=("view_id",), destination=default_destination(), consent=COLUMN
    )
    run = ReplayRun("replay", "one")
    read = reread(sync, Wanted("views"), run.folder("views"), batch_rows=10)
    [batch] = read.batches
    delivered = replay_batch(sync, batch, run, logging.getLogger())
    assert {outcome.value: rows for outcome, rows in delivered.totals.outcomes.items()} == {
        "delivered": 1,
        "suppressed": 1,
    }
    assert {user["email"] for user in sandbox.users()} == {"mended1@example.com"}


def test_a_person_who_is_purged_is_purged_from_the_answers_too(
    run_sync: Run, connections: Callable[..., None], views: Add, tmp_path: Path
) -> None:
    for name in ("No", "Unasked"):
        views(f"{name}@example.com", first_name=name)
    run_sync(WITH_COLUMN, consent=COLUMN)
    [path] = (tmp_path / "staging").rglob("no_consent-*.parquet")
    hashes = [hash_key()((number,)) for number in (1, 2)]
    assert pq.read_table(path).column("key").to_pylist() == hashes
    assert not any(b"example.com" in found.read_bytes() for found in [path])
    sync = Sync(name="views", query=tmp_path / "views.sql", key=("view_id",), destination=default_destination())
    purge_person(Syncs({"views": [sync]}), emails=["no@example.com"])
    assert pq.read_table(path).column("key").to_pylist() == hashes[1:]
    assert configured_folder("staging").exists()
