"""The project's own DAG on a real database, the sandbox and Airflow's `dag.test`."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from reverse_etl.sandbox.testing import SandboxServer
from tests.operators.conftest import Finished, local

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Shop = Callable[..., list[tuple[Any, ...]]]


def test_a_day_ends_with_every_row_delivered(run_page_views: Run, shop: Shop, sandbox: SandboxServer) -> None:
    finished = run_page_views()
    assert finished.state == "success"
    assert finished.counts == {"read": 5, "delivered": 5}
    assert finished.tasks[("deliver", 0)].rendered_map_index == "batch 0: 5 delivered"
    names = {user["email"]: user["dataFields"]["first_name"] for user in sandbox.users()}
    assert names == dict(shop("SELECT email, first_name FROM customers WHERE plan_type = 'pro' AND id <= 5"))
    assert all(user["dataFields"]["recent_page_view"] is True for user in sandbox.users())


def test_an_event_holds_the_view_it_is_about(run_page_views: Run, shop: Shop, sandbox: SandboxServer) -> None:
    run_page_views()
    events = {event["email"]: event for event in sandbox.events()}
    ((email, page, device, browser, location, seconds, stamp, candidate),) = shop(
        "SELECT email, page, device, browser, location, FLOOR(UNIX_TIMESTAMP(event_time)),"
        " DATE_FORMAT(event_time, '%Y-%m-%d %H:%i:%s +00:00'), candidate"
        " FROM page_views JOIN customers ON customers.id = user_id WHERE page_views.id = 37"
    )
    fields = events[email]["dataFields"]
    assert (fields["page"], fields["device"], fields["browser"], fields["location"]) == (
        page,
        device,
        browser,
        location,
    )
    assert fields["candidate"] is bool(candidate)
    assert fields["timestamp"] == stamp
    assert events[email]["eventName"] == "page_view"
    assert events[email]["createdAt"] == stamp
    assert seconds > 0


def test_a_second_run_of_the_day_adds_no_event(run_page_views: Run, shop: Shop, sandbox: SandboxServer) -> None:
    run_page_views()
    first = sandbox.events()
    assert run_page_views().counts == {"read": 5, "delivered": 5}
    assert sandbox.events() == first
    assert sandbox.stats()["events_overwritten"] == 5


def test_another_day_has_its_own_answer_and_files(run_page_views: Run, shop: Shop) -> None:
    first, second = run_page_views(), run_page_views(date="2026-01-12")
    assert second.counts == {"read": 3, "delivered": 3}
    assert second.result["day"] == "2026-01-12"
    names = {local(finished.result[kind]).name for finished in (first, second) for kind in ("csv", "json")}
    assert names == {
        "query_results_20260113_235959.csv",
        "query_results_20260112_235959.csv",
        "integration_results_20260113_235959.json",
        "integration_results_20260112_235959.json",
    }


def test_the_csv_holds_all_columns_of_all_rows(run_page_views: Run, shop: Shop) -> None:
    finished = run_page_views(batch_rows=2)
    assert finished.states("deliver") == ["success"] * 3
    with local(finished.result["csv"]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["email"] for row in rows] == [
        email for (email,) in shop("SELECT email FROM customers WHERE id <= 5 ORDER BY id")
    ]
    assert len(rows[0]) == 12


def test_a_dry_run_sends_nothing_and_its_files_say_so(run_page_views: Run, shop: Shop, sandbox: SandboxServer) -> None:
    finished = run_page_views(dry_run=True)
    assert finished.state == "success"
    assert finished.counts == {"read": 5, "planned": 5}
    assert sandbox.stats()["requests_total"] == 0
    assert local(finished.result["json"]).name == "integration_results_20260113_235959_dry_run.json"
    assert orjson.loads(local(finished.result["json"]).read_bytes())["dry_run"] is True


def test_a_dry_run_with_many_refused_rows_ends_well_and_says_that_the_run_would_not(
    run_page_views: Run, shop: Shop
) -> None:
    shop("UPDATE customers SET email = 'no e-mail' WHERE id = 1")
    try:
        finished = run_page_views(dry_run=True)
    finally:
        shop("UPDATE customers SET email = 'back@example.com' WHERE id = 1")
    assert finished.state == "success"
    assert finished.result["prediction"]["problems"] == [
        "1 of 5 rows would not be delivered, more than the share of 5.0% the sync allows"
    ]


@pytest.mark.parametrize(
    ("params", "counts"),
    [
        ({"row_limit": 1}, {"read": 1, "delivered": 1}),
        ({"row_limit": 2, "batch_rows": 1}, {"read": 2, "delivered": 2}),
        ({"window_days": 1}, {"read": 4, "delivered": 4}),
        ({"date": "2020-01-01"}, {"read": 0}),
    ],
)
def test_params_choose_what_is_read(
    run_page_views: Run, shop: Shop, params: dict[str, object], counts: dict[str, int]
) -> None:
    finished = run_page_views(**params)
    assert finished.state == "success"
    assert {"read": 0, **finished.counts} == counts


def test_an_empty_day_is_a_green_run_with_empty_files(run_page_views: Run, shop: Shop) -> None:
    finished = run_page_views(date="2020-01-01")
    assert finished.states("deliver") == ["skipped"]
    assert len(local(finished.result["csv"]).read_text().splitlines()) == 1
    assert orjson.loads(local(finished.result["json"]).read_bytes())["records"] == []


@pytest.mark.parametrize("params", [{"date": "soon"}, {"window_days": 0}, {"row_limit": 0}, {"batch_rows": 0}])
def test_params_that_make_no_sense_are_refused_before_the_run(
    run_page_views: Run, shop: Shop, sandbox: SandboxServer, params: dict[str, object]
) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises((ParamValidationError, ValueError), match=next(iter(params))):
        run_page_views(**params)
    assert sandbox.stats()["requests_total"] == 0


def test_a_misspelt_param_fails_the_run_before_anything_is_sent(
    run_page_views: Run, shop: Shop, sandbox: SandboxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = run_page_views(dryrun=True)
    assert finished.state == "failed"
    assert finished.tries("check") == 1
    assert "the run was given dryrun, which the DAG does not know" in capsys.readouterr().out
    assert sandbox.stats()["requests_total"] == 0


def test_a_day_in_the_future_fails_the_run_without_retry(run_page_views: Run, shop: Shop) -> None:
    finished = run_page_views(date="2999-01-01")
    assert finished.state == "failed"
    assert finished.tries("check") == 1


def test_xcom_holds_references_and_counts_only(run_page_views: Run, shop: Shop) -> None:
    finished = run_page_views()
    pushed = [finished.xcom("extract"), finished.xcom("extract", "run"), finished.xcom("deliver", "delivery", 0)]
    text = repr([*pushed, finished.result])
    for email, first_name in shop("SELECT email, first_name FROM customers"):
        assert email not in text
        assert first_name not in text
