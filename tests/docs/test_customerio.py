"""The blocks of the page about Customer.io run as a reader would run them."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest

from devstack.database import PrivateServer
from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.customerio.limits import Region
from reverse_etl.customerio.payloads import RowRenderer
from reverse_etl.mapping import Field
from reverse_etl.sandbox.testing import SandboxServer
from reverse_etl.staging.columns import arrow_schema
from reverse_etl.staging.kinds import column_kinds
from reverse_etl.staging.source import stream_query
from tests.conftest import ROOT
from tests.customerio.platform import KEY, workspace
from tests.docs.conftest import Bash
from tests.docs.pages import block, code, output_of, read, table
from tests.docs.test_commands import variables


@pytest.mark.integration
def test_the_customerio_variable_is_a_connection(bash: Bash, monkeypatch: pytest.MonkeyPatch) -> None:
    from reverse_etl.customerio.hook import CustomerIOHook

    name = "AIRFLOW_CONN_CUSTOMERIO_DEFAULT"
    monkeypatch.setenv(name, variables(bash, block("customerio-variable"))[name])
    connection = CustomerIOHook().connection
    assert (connection.api_key, connection.region, connection.rate_share) == ("put-the-api-key-here", Region.EU, 0.8)


async def test_the_example_for_notebooks_runs() -> None:
    async with workspace() as there:
        done = await asyncio.to_thread(example, CUSTOMERIO_API_KEY=KEY, CUSTOMERIO_HOST=there.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == output_of("customerio-calls")
    assert [message["type"] for message in there.messages[:4]] == ["identify", "track", "track", "identify"]
    assert len(there.requests) == 4


def test_the_example_without_a_key_says_which_variable_is_missing() -> None:
    done = example(CUSTOMERIO_API_KEY="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CUSTOMERIO_API_KEY is not set; ")


def example(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", ROOT / "docs/examples/customerio_calls.py"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_of_the_example_sends_to_the_sandbox(bash: Bash) -> None:
    with SandboxServer() as sandbox:
        script = block("customerio-calls").replace("http://127.0.0.1:8081", sandbox.url)
        script = script.replace(".venv/bin/python", sys.executable)
        assert bash(script) == output_of("customerio-calls")
        assert sandbox.customerio.count("people") == 1_001


AS_OF = "CAST(%(window_end)s AS DATETIME) AS as_of"


def message(destination: CustomerIODestination, row: dict[str, Any]) -> dict[str, Any]:
    """The one message of a row of a sync whose key names the person."""
    (call,) = RowRenderer("profiles", ("user_id",), destination)(row).calls
    found: dict[str, Any] = orjson.loads(call.body)
    return found


def test_what_was_changed_by_hand_is_mended_by_a_new_timestamp_only() -> None:
    assert AS_OF in read("docs/customerio.md")
    fields = (Field("plan"),)
    plain = CustomerIODestination(user_id="user_id", identify=Identify(fields))
    dated = CustomerIODestination(user_id="user_id", identify=Identify(fields, timestamp="as_of"))

    def plan_after(destination: CustomerIODestination) -> str:
        with SandboxServer() as sandbox:
            for day in (14, 15):
                row = {"user_id": "u1", "plan": "pro", "as_of": datetime(2026, 1, day, tzinfo=UTC)}
                sandbox.customerio.post("identify", message(destination, row))
                if day == 14:
                    sandbox.customerio.post("identify", {"userId": "u1", "traits": {"plan": "by hand"}})
            return str(sandbox.customerio.people()[0]["traits"]["plan"])

    assert (plan_after(plain), plan_after(dated)) == ("by hand", "pro")


@pytest.mark.integration
def test_the_time_of_the_page_is_a_datetime_for_the_mapping(server: PrivateServer) -> None:
    sql = f"SELECT 1 AS id, {AS_OF}"
    with stream_query(server.connect("mysql"), sql, {"window_end": datetime(2026, 1, 14, tzinfo=UTC)}) as stream:
        assert column_kinds(arrow_schema(stream.columns))["as_of"] == "datetime"
        assert [str(row[1]) for chunk in stream for row in chunk] == ["2026-01-14 00:00:00"]


@pytest.mark.parametrize(("id_columns", "events"), [((), 1), (("user_id", "day"), 2)])
def test_a_key_that_names_the_person_has_one_event_for_ever_unless_the_day_is_in_its_id(
    id_columns: tuple[str, ...], events: int
) -> None:
    assert 'id_columns=("user_id", "day")' in read("docs/write-a-sync.md")
    track = Track("daily_usage", timestamp="at", id_columns=id_columns)
    destination = CustomerIODestination(user_id="user_id", track=track)
    days = [date(2026, 1, day) for day in (13, 14)]
    rows = [{"user_id": "u1", "day": day, "at": datetime(2026, 1, day.day, tzinfo=UTC)} for day in days]
    assert len({message(destination, row)["messageId"] for row in rows}) == events


def test_the_arguments_are_those_of_the_classes() -> None:
    shown = [(code(cells[1]), code(cells[0])) for cells in table("docs/customerio.md", "argument")]
    classes = (CustomerIODestination, Identify, Track)
    assert set(shown) == {(kind.__name__, field.name) for kind in classes for field in dataclasses.fields(kind)}
