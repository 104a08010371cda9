"""The commands of the pages, run as they stand: settings, connections, triggers, backfill."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.database import PrivateServer
from reverse_etl.iterable.connection import IterableConnection, Region
from reverse_etl.iterable.hook import IterableHook
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer
from tests.conftest import ROOT
from tests.docs.conftest import Bash, RestApi, Signups
from tests.docs.pages import block, read, table
from tests.docs.test_tables import CONNECTION

pytestmark = pytest.mark.integration

RUNS = "/api/v2/dags/trial_signups/dagRuns"
CONNECTIONS = "/api/v2/connections"


def variables(bash: Bash, script: str) -> dict[str, str]:
    """The environment after a block."""
    printed = bash(f"{script}\nenv -0")
    return dict(entry.split("=", 1) for entry in printed.split("\0") if entry)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


# --- Settings and variables ------------------------------------------------------------------------------------


def test_the_settings_are_read_by_the_operators(
    bash: Bash, environment: pytest.MonkeyPatch, tmp_path: Path, metadata: None
) -> None:
    from reverse_etl.operators.base import RunParams, hash_key, output_file, staging_folder

    for name, value in variables(bash, block("settings")).items():
        if name.startswith("AIRFLOW__REVERSE_ETL__"):
            environment.setenv(name, value)
    run: Any = type("Run", (), {"run_id": "manual__1", "dag_id": "views"})
    named: Any = type("Named", (), {"name": "page_views"})
    staging = str(staging_folder(named, {"dag_run": run}))
    assert staging.startswith("file:///data/reverse_etl/staging/views/manual__1-")
    assert staging.endswith("/page_views")
    params = RunParams(None, window_days=7, row_limit=None, dry_run=False, batch_rows=10, send="as the sync says")
    path = output_file(named, "query_results", "20260113_235959", "csv", params)
    assert str(path) == "file:///data/reverse_etl/output/page_views/query_results_20260113_235959.csv"
    assert len(os.environ["AIRFLOW__REVERSE_ETL__HASH_KEY"]) == 32
    assert len(hash_key()(["1"])) == 32


def test_the_iterable_variable_is_a_connection(bash: Bash, environment: pytest.MonkeyPatch) -> None:
    name = "AIRFLOW_CONN_ITERABLE_DEFAULT"
    environment.setenv(name, variables(bash, block("iterable-variable"))[name])
    connection = IterableHook().connection
    assert (connection.api_key, connection.region, connection.rate_share) == ("put-the-api-key-here", Region.EU, 0.8)


def test_the_mysql_variable_is_a_connection(bash: Bash, environment: pytest.MonkeyPatch) -> None:
    from airflow.sdk import BaseHook

    name = "AIRFLOW_CONN_MYSQL_DEFAULT"
    environment.setenv(name, variables(bash, block("mysql-variable"))[name])
    connection = BaseHook.get_connection("mysql_default")
    assert (connection.host, connection.port, connection.schema) == ("db.example.com", 3306, "shop")
    assert connection.extra_dejson == {"charset": "utf8mb4"}


def test_the_users_of_the_page_may_read_and_not_write(server: PrivateServer) -> None:
    import MySQLdb

    server.load_sql(ROOT / "include/sql/schema.sql")
    statements = (ROOT / "docs/examples/read_only_user.sql").read_text(encoding="utf-8")
    with closing(server.connect()) as administrator, administrator.cursor() as cursor:
        cursor.execute(statements)
        while cursor.nextset() is not None:
            pass
        try:
            reader = MySQLdb.connect(
                host="127.0.0.1",
                port=server.port,
                user="etl_reader",
                password="put-a-password-here",
                database="shop",
            )
            with closing(reader), reader.cursor() as reading:
                reading.execute("SELECT COUNT(*) FROM customers")
                with pytest.raises(MySQLdb.OperationalError, match="denied"):
                    reading.execute("DELETE FROM customers")
        finally:
            cursor.execute("DROP USER 'etl_reader'@'%'")


# --- Connections -----------------------------------------------------------------------------------------------


def test_the_file_of_the_secrets_backend_is_read_and_wins_over_a_variable(bash: Bash, metadata: None) -> None:
    assert "the secrets backend wins, then the variable, then the UI" in " ".join(read("docs/connections.md").split())
    variable = {"AIRFLOW_CONN_ITERABLE_DEFAULT": json.dumps({"conn_type": "iterable", "password": "another"})}
    (found,) = yaml.safe_load(bash(block("secrets-backend"), variable))
    connection = IterableConnection.from_parts(
        password=found["password"], host=found["host"], extra=_mapping(found["extra_dejson"])
    )
    assert (connection.api_key, connection.region) == ("put-the-api-key-here", Region.EU)
    assert connection.rate_share == 0.8


def _mapping(value: object) -> dict[str, object]:
    found = json.loads(value.replace("'", '"')) if isinstance(value, str) else value
    assert isinstance(found, dict)
    return found


@pytest.fixture
def stored(rest: RestApi, platform: SandboxServer) -> Iterator[None]:
    """No connection of the default id before, and none left over."""
    rest.call("DELETE", f"{CONNECTIONS}/iterable_default")
    yield
    rest.call("DELETE", f"{CONNECTIONS}/iterable_default")


def as_the_button_does(rest: RestApi) -> Any:
    """Send what the UI of Airflow 3.3.2 sends: an empty port as 0, the password masked."""
    shown = rest.call("GET", f"{CONNECTIONS}/iterable_default").json()
    body = {key: shown[key] or "" for key in ("connection_id", "conn_type", "host", "login", "schema", "description")}
    return rest.call(
        "POST",
        f"{CONNECTIONS}/test",
        {**body, "password": shown["password"] or "", "port": shown["port"] or 0, "extra": shown["extra"] or "{}"},
    )


def test_the_test_button_needs_a_port_in_this_version_of_airflow(
    rest: RestApi, stored: None, platform: SandboxServer
) -> None:
    body = {"connection_id": "iterable_default", "conn_type": "iterable", "password": SERVER_KEY, "host": platform.url}
    rest.call("POST", CONNECTIONS, body).raise_for_status()
    refused = as_the_button_does(rest)
    assert refused.status_code == 400
    assert "The host or port to test differs from the stored connection" in refused.json()["detail"]
    page = " ".join(read("docs/connections.md").split())
    assert "`The host or port to test differs from the stored connection`" in page
    assert "port" not in CONNECTION["ui-field-behaviour"]["hidden-fields"]


def test_the_commands_add_a_connection_that_can_be_tested(
    bash: Bash, rest: RestApi, stored: None, platform: SandboxServer
) -> None:
    host = f" --conn-host {platform.url}"
    script = block("test-switch") + block("add-and-test").replace("--conn-port 0", f"--conn-port 0{host}")
    assert host in script
    assert "success" in bash(script, {"ITERABLE_API_KEY": SERVER_KEY})
    assert as_the_button_does(rest).json() == {
        "status": True,
        "message": table("docs/connections.md", "sentence")[0][0].strip("`"),
    }


# --- Runs ------------------------------------------------------------------------------------------------------


def confs(rest: RestApi) -> list[dict[str, Any]]:
    runs = rest.call("GET", f"{RUNS}?limit=100&order_by=id").json()["dag_runs"]
    return [run["conf"] for run in runs]


def test_the_commands_trigger_a_dry_run_and_a_run(bash: Bash, rest: RestApi, signups: Signups) -> None:
    before = confs(rest)
    bash(block("trigger"))
    assert confs(rest)[len(before) :] == [{"date": "2026-01-13", "dry_run": True}, {"date": "2026-01-13"}]


def test_the_quotes_of_the_command_by_make_give_the_same_arguments() -> None:
    make, target, variable = shlex.split(block("trigger-by-make"))
    assert (make, target) == ("make", "airflow")
    name, _, arguments = variable.partition("=")
    assert name == "ARGS"
    assert ["airflow", *shlex.split(arguments)] == shlex.split(block("trigger").splitlines()[1])


def test_the_request_triggers_a_run(bash: Bash, rest: RestApi, signups: Signups) -> None:
    answer = json.loads(bash(block("rest"), {"AIRFLOW_URL": rest.url, "TOKEN": rest.token}))
    assert (answer["dag_id"], answer["conf"], answer["logical_date"]) == (
        "trial_signups",
        {"date": "2026-01-13"},
        None,
    )


def test_a_request_without_a_logical_date_is_refused(rest: RestApi, signups: Signups) -> None:
    assert rest.call("POST", RUNS, {"conf": {"date": "2026-01-13"}}).status_code == 422


def test_the_backfill_has_a_run_for_each_day(bash: Bash, rest: RestApi, signups: Signups) -> None:
    bash(block("backfill"))
    listed = rest.call("GET", "/api/v2/backfills?dag_id=trial_signups").json()["backfills"]
    assert [(found["from_date"][:10], found["to_date"][:10]) for found in listed] == [("2026-01-10", "2026-01-13")]
    runs = rest.call("GET", f"{RUNS}?limit=100&run_type=backfill").json()["dag_runs"]
    days = sorted(run["logical_date"][:10] for run in runs)
    assert days == ["2026-01-10", "2026-01-11", "2026-01-12", "2026-01-13"]
