"""Whole runs of a sync that sends only what changed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from reverse_etl.customerio.config import CustomerIODestination, DeletePerson, Identify
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.mapping import Field
from reverse_etl.mirror import Mirror
from reverse_etl.operators.preview import preview
from reverse_etl.run_day import RunDay
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, SandboxServer
from reverse_etl.sync import Sync
from tests.operators.conftest import DAY, QUERY, Finished, default_destination, local
from tests.operators.test_bad_days import DeadOperator, add_many, views
from tests.operators.test_replay import Quarantine, quarantine

__all__ = ["quarantine", "views"]

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Add = Callable[..., None]
Shop = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def run(run_sync: Run) -> Run:
    """Return a function that runs the sync, which sends what changed."""
    return lambda *given, **options: run_sync(*given, **{"sync_sends": "changed", **options})


def calls(sandbox: SandboxServer) -> int:
    """Requests so far."""
    total: int = sandbox.stats()["requests_total"]
    return total


@pytest.mark.parametrize("in_one_request", ["single", "bulk"])
def test_a_second_run_sends_what_changed_and_nothing_else(
    run: Run, shop: Shop, views: Add, sandbox: SandboxServer, in_one_request: Any
) -> None:
    add_many(shop, 200)
    destination = default_destination(in_one_request)
    assert run(destination=destination, batch_rows=60).counts == {"read": 200, "delivered": 200}
    sent = calls(sandbox)
    nothing = run(destination=destination, batch_rows=60)
    assert (nothing.state, nothing.counts) == ("success", {"read": 200, "unchanged": 200})
    assert calls(sandbox) == sent
    shop("UPDATE views SET first_name = 'Grace' WHERE id IN (7, 150)")
    shop("DELETE FROM views WHERE id = 9")
    views("new@example.com")
    changed = run(destination=destination, batch_rows=70)
    assert changed.counts == {"read": 200, "delivered": 3, "unchanged": 197}
    names = {user["email"]: user["dataFields"]["first_name"] for user in sandbox.users()}
    assert names["p7@example.com"] == names["p150@example.com"] == "Grace"
    assert len(names) == 201
    assert len(sandbox.events()) == 201


def test_the_result_tells_how_many_were_left_alone(run: Run, shop: Shop, views: Add) -> None:
    add_many(shop, 30)
    run()
    shop("UPDATE views SET first_name = 'Grace' WHERE id = 1")
    result = orjson.loads(local(run().result["json"]).read_bytes())
    assert result["send"] == "changed"
    assert (result["totals"]["successful"], result["totals"]["unchanged"]) == (30, 29)
    assert (result["reasons"], result["problems"]) == ([], [])
    records = {record["outcome"]: record for record in result["records"]}
    assert {name: call["outcome"] for name, call in records["delivered"]["calls"].items()} == {
        "user_update": "delivered",
        "event_track": "unchanged",
    }
    assert (records["unchanged"]["reason"], records["unchanged"]["calls"]) == ("unchanged", {})


def test_a_column_that_is_not_mapped_may_change(run: Run, shop: Shop, views: Add, sandbox: SandboxServer) -> None:
    views("ada@example.com")
    more = QUERY.replace("id AS view_id", "id AS view_id, NOW(6) AS read_at, RAND() AS noise")
    run(more)
    assert run(more).counts == {"read": 1, "unchanged": 1}
    assert run(QUERY).counts == {"read": 1, "unchanged": 1}


def test_a_new_event_of_an_unchanged_person_goes_alone(
    run: Run, shop: Shop, views: Add, sandbox: SandboxServer
) -> None:
    views("ada@example.com")
    by_person = QUERY.replace("id AS view_id", "1 AS view_id")
    run(by_person)
    before = calls(sandbox)
    shop("UPDATE views SET page = 'settings'")
    assert run(by_person).counts == {"read": 1, "delivered": 1}
    assert calls(sandbox) == before + 1
    (event,) = sandbox.events()
    assert event["dataFields"]["page"] == "settings"


def test_a_changed_mapping_counts_as_changed(run: Run, shop: Shop, views: Add, sandbox: SandboxServer) -> None:
    add_many(shop, 5)
    run()
    plain = default_destination()
    assert plain.user is not None
    more = type(plain.user)((*plain.user.fields, Field("last_page", column="page")))
    destination = type(plain)(email="email", user=more, event=plain.event, calls="single")
    finished = run(destination=destination)
    assert finished.counts == {"read": 5, "delivered": 5}
    assert {user["dataFields"]["last_page"] for user in sandbox.users()} == {"pricing"}
    assert len(sandbox.events()) == 5


def test_a_dry_run_tells_how_many_rows_only_the_mapping_changed(run: Run, shop: Shop, views: Add) -> None:
    add_many(shop, 20)
    run()
    shop("UPDATE views SET first_name = 'Grace' WHERE id = 3")
    views("new@example.com")
    plain = default_destination()
    assert plain.user is not None
    more = type(plain.user)((*plain.user.fields, Field("last_page", column="page")))
    destination = type(plain)(email="email", user=more, event=plain.event, calls="single")
    predicted = run(destination=destination, dry_run=True)
    assert predicted.counts == {"read": 21, "planned": 21}
    rows = {name: count for name, count in predicted.result["prediction"]["rows"].items() if count}
    assert rows == {"new": 1, "changed": 1, "changed_mapping": 19}
    assert run(destination=destination).counts == {"read": 21, "delivered": 21}
    assert run(destination=destination).counts == {"read": 21, "unchanged": 21}


def test_a_preview_looks_back_at_a_mapping_that_its_mirror_would_refuse(
    run: Run, views: Add, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Customer.io's mirror needs the time of an identify, which was not mapped before there was a mirror."""
    connection = {"conn_type": "customerio", "host": sandbox.url, "password": CUSTOMERIO_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERIO_DEFAULT", json.dumps(connection))
    views("ada@example.com")
    path = tmp_path / "all.sql"
    path.write_text("SELECT id AS view_id, email, first_name, event_time FROM views")
    before = CustomerIODestination(user_id="email", identify=Identify((Field("first_name"),)))
    run(destination=before)
    assert before.identify is not None
    now = replace(before, identify=replace(before.identify, timestamp="event_time"))
    sync = Sync("views", path, ("view_id",), now, send="changed", mirror=Mirror(DeletePerson()))
    day = RunDay(date.fromisoformat(DAY))
    found = preview(sync, day, sends_all=False, batch_rows=10, run_id="preview", log=logging.getLogger())
    assert (found.problems, found.prediction["rows"]["changed_mapping"]) == ([], 1)


@pytest.mark.parametrize(
    ("sync_sends", "param", "outcome"),
    [
        ("all", "as the sync says", "delivered"),
        ("all", "changed", "unchanged"),
        ("changed", "as the sync says", "unchanged"),
        ("changed", "all", "delivered"),
    ],
)
def test_the_param_of_the_run_goes_before_the_sync(
    run_sync: Run, views: Add, sync_sends: str, param: str, outcome: str
) -> None:
    views("ada@example.com")
    run_sync()
    finished = run_sync(sync_sends=sync_sends, send=param)
    assert finished.counts == {"read": 1, outcome: 1}


def test_a_param_of_another_word_is_refused(run: Run, views: Add) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError, match="send"):
        run(send="new")


def test_a_row_that_changes_back_after_it_was_refused_is_sent_and_leaves_quarantine(
    run: Run, shop: Shop, views: Add, sandbox: SandboxServer, quarantine: Quarantine
) -> None:
    add_many(shop, 30)
    run()
    shop("UPDATE views SET email = 'no e-mail' WHERE id = 3")
    assert run().counts == {"read": 30, "unchanged": 29, "invalid": 1}
    assert len(quarantine()) == 1
    shop("UPDATE views SET email = 'p3@example.com' WHERE id = 3")
    assert run().counts == {"read": 30, "delivered": 1, "unchanged": 29}
    assert quarantine() == []
    assert run().counts == {"read": 30, "unchanged": 30}


def test_a_row_that_failed_is_sent_by_the_next_run_even_when_it_changed_back(
    run: Run, shop: Shop, views: Add, sandbox: SandboxServer
) -> None:
    """A lost reply: the platform took the value, nobody here knows it."""
    add_many(shop, 30)
    run()
    shop("UPDATE views SET first_name = 'Grace' WHERE id = 3")
    sandbox.faults([{"kind": "lost_reply", "match_email": "p3@example.com"}])
    assert run(retries=0).counts == {"read": 30, "unchanged": 29, "failed": 1}
    sandbox.faults([])
    shop("UPDATE views SET first_name = 'Ada' WHERE id = 3")
    assert run().counts == {"read": 30, "delivered": 1, "unchanged": 29}
    assert {user["dataFields"]["first_name"] for user in sandbox.users()} == {"Ada"}


def test_after_a_refused_event_only_the_event_is_tried_again(
    run: Run, shop: Shop, views: Add, sandbox: SandboxServer
) -> None:
    views("ada@example.com")
    sandbox.settings(disallowed_event_names=["page_view"])
    assert run().counts == {"read": 1, "rejected": 1}
    sandbox.settings(disallowed_event_names=[])
    before = calls(sandbox)
    assert run().counts == {"read": 1, "delivered": 1}
    assert calls(sandbox) == before + 1


def test_a_task_that_dies_without_a_word_leaves_unchanged_what_it_need_not_have_sent(
    run: Run, shop: Shop, views: Add, sandbox: SandboxServer
) -> None:
    add_many(shop, 4)
    run()
    shop("UPDATE views SET first_name = 'Grace' WHERE id = 3")
    finished = run(deliver=DeadOperator)
    assert finished.state == "failed"
    assert finished.counts == {"read": 4, "unchanged": 3, "failed": 1}
    assert run().counts == {"read": 4, "unchanged": 3, "delivered": 1}


def test_an_account_that_is_refused_leaves_what_was_delivered_before_known(
    run: Run, connections: Callable[..., None], shop: Shop, views: Add, sandbox: SandboxServer
) -> None:
    add_many(shop, 4)
    run()
    shop("UPDATE views SET first_name = 'Grace' WHERE id = 3")
    connections(password="no-such-key")
    assert run().counts == {"read": 4, "failed": 4}
    connections()
    assert run().counts == {"read": 4, "unchanged": 3, "delivered": 1}


def test_another_account_is_sent_everything(
    run: Run, connections: Callable[..., None], shop: Shop, views: Add, sandbox: SandboxServer
) -> None:
    """As when a sync that was tried out elsewhere gets the connection it is for."""
    add_many(shop, 3)
    run()
    with SandboxServer() as other:
        connections(host=other.url)
        assert run(dry_run=True).result["prediction"]["rows"]["changed"] == 3
        assert run().counts == {"read": 3, "delivered": 3}
        assert (len(other.users()), len(other.events())) == (3, 3)
        assert run().counts == {"read": 3, "unchanged": 3}
        views("new@example.com")
        connections(host=other.url, extra={"tries": 2})
        assert run().counts == {"read": 4, "unchanged": 3, "delivered": 1}


def test_no_batch_of_a_run_that_ended_stays_open(
    run: Run, connections: Callable[..., None], shop: Shop, views: Add, tmp_path: Any
) -> None:
    add_many(shop, 4)
    run()
    connections(host="http://127.0.0.1:9", extra={"tries": 1})
    shop("UPDATE views SET first_name = 'Grace'")
    assert run(retries=0).counts == {"read": 4, "failed": 4}
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert ledger.open_batches("views") == 0


def test_an_empty_result_is_a_good_run(run: Run, views: Add) -> None:
    assert (run().state, run().counts) == ("success", {})
