"""Messages to Customer.io that were refused go out again, under the ids they had."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.mapping import Field
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, SandboxServer
from tests.operators.conftest import QUERY, Finished
from tests.operators.test_bad_days import views
from tests.operators.test_replay import Add, Quarantine, Run, Shop, quarantine, replay

__all__ = ["quarantine", "replay", "views"]

pytestmark = pytest.mark.integration

DESTINATION = CustomerIODestination(
    user_id="email",
    identify=Identify((Field("first_name"), Field("candidate", kind="boolean"))),
    track=Track("page_view", timestamp="event_time", fields=(Field("page"),)),
)
DAG_FILE = """
from pathlib import Path

from airflow.sdk import DAG

from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.mapping import Field
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.params import sync_params
from reverse_etl.sync import Sync

SYNC = Sync(
    name="views",
    query=Path({query!r}),
    key=("view_id",),
    destination=CustomerIODestination(
        user_id="email",
        identify=Identify((Field("first_name"), Field("candidate", kind="boolean"))),
        track=Track("page_view", timestamp="event_time", fields=(Field("page"),)),
    ),
)
with DAG("views", schedule=None, params=sync_params()):
    ExtractOperator(task_id="extract", sync=SYNC)
"""


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGs folder with the sync of this file, which `replay` looks for."""
    folder = tmp_path / "dags"
    folder.mkdir()
    query = tmp_path / "views.sql"
    query.write_text(QUERY)
    (folder / "views.py").write_text(DAG_FILE.format(query=str(query)))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))
    return folder


@pytest.fixture
def run(run_sync: Run, dags: Path, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Finished]:
    connection = {"conn_type": "customerio", "host": sandbox.url, "password": CUSTOMERIO_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERIO_DEFAULT", json.dumps(connection))
    return lambda: run_sync(destination=DESTINATION)


def test_a_row_mended_in_the_source_is_delivered_and_leaves(
    run: Callable[[], Finished], replay: Run, views: Add, shop: Shop, sandbox: SandboxServer, quarantine: Quarantine
) -> None:
    views("ada@example.com")
    views(" blank@example.com")
    assert run().counts == {"read": 2, "delivered": 1, "invalid": 1}
    assert [call.code for call in quarantine()] == ["id_malformed"]
    shop("UPDATE views SET email = TRIM(email)")
    finished = replay()
    assert finished.state == "success"
    assert finished.counts == {"read": 1, "delivered": 1}
    assert quarantine() == []
    assert {person["email"] for person in sandbox.customerio.people()} == {"ada@example.com", "blank@example.com"}
    assert sandbox.customerio.count("events", event="page_view") == 2


def test_an_event_the_platform_refused_goes_alone_once_it_is_taken(
    run: Callable[[], Finished], replay: Run, views: Add, sandbox: SandboxServer, quarantine: Quarantine
) -> None:
    views("ada@example.com")
    views("bob@example.com")
    sandbox.faults([{"path": "/v1/*", "kind": "status", "status": 400, "match_user_id": "ada@example.com"}])
    assert run().counts == {"read": 2, "delivered": 1, "rejected": 1}
    assert [(call.call, call.outcome, call.status) for call in quarantine()] == [("identify", Outcome.REJECTED, 400)]
    assert replay().counts == {"read": 1, "rejected": 1}
    sandbox.faults([])
    assert replay().counts == {"read": 1, "delivered": 1}
    assert quarantine() == []
    assert sandbox.customerio.stats()["messages"] == {"identify": 2, "track": 2}


def test_what_was_delivered_before_is_not_counted_twice(
    run: Callable[[], Finished], replay: Run, views: Add, shop: Shop, sandbox: SandboxServer
) -> None:
    views("ada@example.com")
    views(" blank@example.com")
    run()
    shop("UPDATE views SET email = TRIM(email)")
    replay()
    assert run().counts == {"read": 2, "delivered": 2}
    stats = sandbox.customerio.stats()
    assert (stats["events"], stats["people"]) == (2, 2)
