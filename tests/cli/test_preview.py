"""`reverse-etl preview`: what it says is what the run after it does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.ledger.ledger import Ledger
from reverse_etl.sandbox.testing import SandboxServer
from tests.cli.conftest import Answer, Command
from tests.operators.conftest import DAY, Finished
from tests.operators.dag_files import write_dag
from tests.operators.test_bad_days import add_many

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Add = Callable[..., None]
Shop = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def preview(reverse_etl: Command) -> Command:
    return lambda *options: reverse_etl("preview", "views", "--date", DAY, *options)


def rows(answer: Answer) -> dict[str, int]:
    assert answer.code == 0, answer.err
    return {name: count for name, count in json.loads(answer.out)["prediction"]["rows"].items() if count}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("preview",), "the following arguments are required: SYNC"),
        (("preview", "view"), "no DAG has a sync named 'view'; there are views"),
        (("preview", "views", "--date", "13.1.2026"), "date is '13.1.2026', expected a day such as 2026-01-13"),
        (("preview", "views", "--date", "2999-01-01"), "which is in the future"),
        (("preview", "views", "--send", "new"), "invalid choice: 'new'"),
        (("preview", "views", "--window-days", "0"), "'0' is not a whole number of 1 or more"),
    ],
)
def test_a_preview_that_cannot_be_meant_is_refused(
    reverse_etl: Command, options: tuple[str, ...], message: str
) -> None:
    answer = reverse_etl(*options)
    assert answer.code == 2
    assert message in answer.err


def test_a_source_that_is_away_is_named(preview: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {"conn_type": "mysql", "host": "127.0.0.1", "port": 9, "login": "x", "password": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(nowhere))
    answer = preview()
    assert answer.code == 2
    assert "connecting to the database" in answer.err


def test_an_empty_result_needs_no_request(preview: Command, views: Add) -> None:
    assert "No request would leave." in preview().out


def test_nothing_is_sent_recorded_or_left_behind(
    preview: Command, shop: Shop, views: Add, sandbox: SandboxServer, tmp_path: Path
) -> None:
    add_many(shop, 20)
    views("malformed")
    assert rows(preview("--json")) == {"new": 20, "invalid": 1}
    assert sandbox.stats()["requests_total"] == 0
    assert list((tmp_path / "staging").glob("reverse-etl/*")) == []
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert ledger.open_batches("views") == 0
        assert list(ledger.quarantine.calls("views")) == []
        assert ledger.mappings("views") == []


def test_the_run_does_what_the_preview_says(
    preview: Command, run_sync: Run, shop: Shop, views: Add, sandbox: SandboxServer
) -> None:
    add_many(shop, 30)
    run_sync()
    shop("UPDATE views SET first_name = 'Grace' WHERE id IN (3, 4)")
    shop("UPDATE views SET email = 'no e-mail' WHERE id = 5")
    views("new@example.com")
    answer = json.loads(preview("--json", "--send", "changed").out)
    assert {name: count for name, count in answer["prediction"]["rows"].items() if count} == {
        "new": 1,
        "changed": 2,
        "unchanged": 27,
        "invalid": 1,
    }
    before = sandbox.stats()["requests_total"]
    dry = run_sync(sync_sends="changed", dry_run=True)
    assert dry.result["prediction"] == answer["prediction"]
    assert (dry.state, sandbox.stats()["requests_total"]) == ("success", before)
    done = run_sync(sync_sends="changed")
    assert done.counts == {"read": 31, "delivered": 3, "unchanged": 27, "invalid": 1}
    requests = {path: here["requests"] for path, here in answer["prediction"]["requests"].items()}
    assert requests == {"/api/users/update": 3, "/api/events/track": 1}
    assert sandbox.stats()["requests_total"] == before + 4
    assert rows(preview("--json", "--send", "changed")) == {"unchanged": 30, "invalid": 1}
    assert rows(preview("--json", "--send", "all")) == {"as_before": 30, "invalid": 1}


def test_a_person_can_read_it(preview: Command, run_sync: Run, views: Add, shop: Shop) -> None:
    views("ada@example.com", first_name="Ada")
    run_sync()
    shop("UPDATE views SET first_name = 'Grace'")
    answer = preview("--send", "changed")
    assert answer.code == 0
    assert f"PREVIEW of views for {DAY}, sending changed: nothing was sent." in answer.out
    assert "changed 1 differ from what was last delivered" in answer.words
    assert "/api/users/update 1 1 495" in answer.words
    assert "event_track: unchanged" in answer.out
    assert "dataFields.first_name: <text>" in answer.out
    for value in ("Ada", "Grace", "ada@example.com"):
        assert value not in answer.out + answer.err


def test_it_says_why_rows_would_be_refused_and_names_one_of_each(preview: Command, views: Add, shop: Shop) -> None:
    for number in range(3):
        views(f"plain{number}@example.com")
    views("malformed")
    shop("UPDATE views SET candidate = 3 WHERE id IN (2, 3)")
    refused = json.loads(preview("--json").out)["prediction"]["refused"]
    assert [(why["outcome"], why["code"], why["field"], why["rows"]) for why in refused] == [
        ("invalid", "not_a_boolean", "candidate", 2),
        ("invalid", "email_malformed", "", 1),
    ]
    answer = preview()
    assert "refused reason field number such as row" in answer.words
    assert f"invalid not_a_boolean candidate 2 {refused[0]['sample']}" in answer.words
    assert "example.com" not in answer.out


@pytest.fixture
def changes(reverse_etl: Command, shop: Shop, tmp_path: Path) -> Callable[[str], None]:
    """Write a DAG whose sync reads on from a watermark; return a function that does so again with another ORDER BY."""

    def write(order: str) -> None:
        where = (
            "WHERE event_time >= %(after_time)s AND (event_time > %(after_time)s OR id > %(after_key)s)"
            " AND event_time < %(before_time)s"
        )
        query = f"SELECT id AS view_id, email, first_name, candidate, page, event_time FROM views {where}{order}"
        path = write_dag(tmp_path / "dags", "changes", query=query)
        incremental = "incremental=Incremental('event_time', 'view_id', timedelta(0)),\n    destination="
        imports = "from datetime import timedelta\nfrom reverse_etl.incremental import Incremental\n"
        path.write_text(imports + path.read_text().replace("destination=", incremental))

    write(" ORDER BY event_time, id")
    return write


def test_a_sync_with_a_watermark_is_read_on_from_there_unless_a_day_is_named(
    reverse_etl: Command, changes: Callable[[str], None], views: Add
) -> None:
    for number in range(1, 5):
        views(f"p{number}@example.com")
    assert "PREVIEW of changes for all rows, sending all" in reverse_etl("preview", "changes").out
    assert reverse_etl("watermark", "set", "changes", "--time", f"{DAY}T08:00:00", "--key", "3", "--yes").code == 0
    answer = reverse_etl("preview", "changes")
    assert f"PREVIEW of changes for rows after {DAY} 08:00:00+00:00 (UTC), sending all" in answer.out
    found = json.loads(reverse_etl("preview", "changes", "--json").out)
    assert (found["read"], found["day"], found["after"]) == (1, None, f"{DAY}T08:00:00+00:00")
    assert json.loads(reverse_etl("preview", "changes", "--date", DAY, "--json").out)["read"] == 4


@pytest.mark.parametrize("options", [(), ("--date", DAY)])
def test_rows_a_run_would_refuse_for_their_order_are_refused(
    reverse_etl: Command, changes: Callable[[str], None], views: Add, options: tuple[str, ...]
) -> None:
    views("one@example.com")
    views("two@example.com")
    changes(" ORDER BY id DESC")
    answer = reverse_etl("preview", "changes", *options)
    assert (answer.code, "do not come in the order of event_time, view_id" in answer.err) == (2, True)
