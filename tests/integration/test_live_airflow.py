"""What only a running Airflow can show: schedule, UI, REST and CLI triggers, backfill, connections, killed workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.conftest import DAG, LiveAirflow, wait_for

pytestmark = pytest.mark.integration


def test_the_scheduled_run_takes_the_day_that_just_ended(live: LiveAirflow) -> None:
    scheduled = wait_for(lambda: [run for run in live.runs() if run["run_type"] == "scheduled"], within=120)
    days = [live.day_of(run["dag_run_id"]) for run in scheduled]
    assert days == [live.day_before(run["dag_run_id"]) for run in scheduled]
    assert len(days) == len(set(days)), "days that ended before Airflow was switched on are not caught up"


def test_a_rest_trigger_without_a_date_takes_yesterday(live: LiveAirflow) -> None:
    run_id = live.trigger()
    assert live.day_of(run_id) == live.day_before(run_id)


def test_a_trigger_as_the_ui_sends_it_takes_yesterday(live: LiveAirflow) -> None:
    now = datetime.now(UTC).isoformat()
    conf = {"date": None, "window_days": 7, "row_limit": None, "dry_run": False, "batch_rows": 10000}
    run_id = live.trigger(logical_date=now, conf=conf)
    assert live.day_of(run_id) == live.day_before(run_id)


def test_a_cli_trigger_without_a_date_takes_yesterday(live: LiveAirflow) -> None:
    live.command("dags", "trigger", DAG, "--run-id", "by-cli")
    assert live.day_of("by-cli") == live.day_before("by-cli")


@pytest.mark.parametrize("day", ["2026-01-12", "2026-01-13"])
def test_a_trigger_with_a_date_takes_that_day(live: LiveAirflow, day: str) -> None:
    run_id = live.trigger(conf={"date": day})
    assert live.day_of(run_id) == day
    assert live.facts(run_id)["read"] == {"2026-01-12": 3, "2026-01-13": 5}[day]


def test_a_trigger_with_a_logical_date_in_the_past_takes_that_day(live: LiveAirflow) -> None:
    assert live.day_of(live.trigger(logical_date="2026-01-12T00:00:00Z")) == "2026-01-12"


def test_a_date_that_is_none_is_refused_by_the_trigger(live: LiveAirflow) -> None:
    answer = live.session.post(
        f"{live.url}/api/v2/dags/{DAG}/dagRuns", json={"logical_date": None, "conf": {"date": "soon"}}, timeout=30
    )
    assert answer.status_code == 400
    assert "'soon' is not a 'date'" in answer.text


def test_a_backfill_takes_each_day_of_its_range_with_its_window(live: LiveAirflow) -> None:
    live.command("backfill", "create", "--dag-id", DAG, "--from-date", "2026-01-14", "--to-date", "2026-01-15")
    found = wait_for(lambda: [run for run in live.runs() if run["run_type"] == "backfill"][1:], within=120)
    assert found
    runs = sorted(run["dag_run_id"] for run in live.runs() if run["run_type"] == "backfill")
    assert [live.day_of(run_id) for run_id in runs] == ["2026-01-14", "2026-01-15"]
    windows = [(live.facts(run_id)["window_start"], live.facts(run_id)["window_end"]) for run_id in runs]
    assert windows == [
        ("2026-01-08T00:00:00+00:00", "2026-01-15T00:00:00+00:00"),
        ("2026-01-09T00:00:00+00:00", "2026-01-16T00:00:00+00:00"),
    ]


def test_the_connection_form_has_our_fields(live: LiveAirflow) -> None:
    types = {entry["connection_type"]: entry for entry in live.call("GET", "/ui/connections/hook_meta")}
    iterable = types["iterable"]
    assert iterable["hook_name"] == "Iterable"
    assert set(iterable["extra_fields"]) == {
        "region",
        "jwt_secret",
        "jwt_lifetime",
        "timeout",
        "requests_in_flight",
        "rate_share",
        "rate_limits",
        "tries",
    }
    assert iterable["standard_fields"]["password"]["title"] == "API key"


def test_the_test_button_works(live: LiveAirflow) -> None:
    stored = live.call("GET", "/api/v2/connections/iterable_default")
    body = {key: stored[key] for key in ("connection_id", "conn_type", "host", "port", "extra")}
    assert live.call("POST", "/api/v2/connections/test", body) == {
        "status": True,
        "message": "Connected: the key may write users.",
    }


def test_the_test_button_tells_a_wrong_key(live: LiveAirflow) -> None:
    body = {"connection_id": "other", "conn_type": "iterable", "host": live.sandbox.url, "password": "no-such-key"}
    answer = live.call("POST", "/api/v2/connections/test", body)
    assert answer["status"] is False
    assert answer["message"].startswith("Wrong key")


def test_the_dag_explains_itself_and_has_no_import_error(live: LiveAirflow) -> None:
    assert live.call("GET", "/api/v2/importErrors")["import_errors"] == []
    details = live.call("GET", f"/api/v2/dags/{DAG}/details")
    assert "Page views to Iterable" in details["doc_md"]
    assert set(details["params"]) == {"date", "window_days", "row_limit", "dry_run", "batch_rows", "send"}


def test_a_killed_deliver_task_is_tried_again_and_nothing_is_lost_or_doubled(live: LiveAirflow) -> None:
    with closing(live.database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO customers (id, email, first_name, last_name, plan_type, candidate)"
            " SELECT 1000 + seq, CONCAT('kill', seq, '@example.com'), 'Kim', 'Kill', 'pro', 0 FROM seq_1_to_400"
        )
        cursor.execute(
            "INSERT INTO page_views (id, user_id, page, device, browser, location, event_time)"
            " SELECT 10000 + seq, 1000 + seq, 'pricing', 'desktop', 'Firefox', 'Oslo, NO', '2025-06-01 10:00:00'"
            " FROM seq_1_to_400"
        )
    live.admin("PUT", "/sandbox/settings", {"latency_ms": 600})
    try:
        run_id = live.trigger(conf={"date": "2025-06-01"})
        os.kill(wait_for(lambda: process_delivering(live.layout.staging), within=60, pause=0.1), signal.SIGKILL)
    finally:
        live.admin("PUT", "/sandbox/settings", {"latency_ms": 0})
    assert live.end_of(run_id, within=240) == "success"
    tries = live.call("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/deliver/0")["try_number"]
    assert tries == 2
    answer = live.session.get(f"{live.sandbox.url}/sandbox/events", timeout=30)
    mine = [line for line in answer.text.splitlines() if "Oslo, NO" in line]
    assert len(mine) == len(set(mine)) == 400


def process_delivering(staging: Path) -> int | None:
    """Return the process that has unfinished row results open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith(str(staging)) and "/.results-" in target:
            return int(link.parts[2])
    return None


def test_make_airflow_runs_commands_on_the_airflow_of_make_up_and_tells_an_error_in_one_line(live: LiveAirflow) -> None:
    def airflow(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "devstack.airflow_command", *arguments]
        env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        return subprocess.run(
            command,
            cwd=live.layout.root,
            env=env | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    listed = airflow("dags", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert DAG in listed.stdout
    assert "warning" not in listed.stdout
    refused = airflow("dags", "trigger", DAG, "--conf", '{"date": "13.01.2026"}')
    assert refused.returncode == 1
    assert "Traceback" not in refused.stdout + refused.stderr
    assert refused.stderr.startswith("error: Invalid input for param date: '13.01.2026' is not a 'date'")
    assert refused.stderr.count("\n") == 1
