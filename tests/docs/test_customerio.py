"""The blocks of the page about Customer.io run as a reader would run them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from reverse_etl.customerio.limits import Region
from tests.conftest import ROOT
from tests.customerio.platform import KEY, workspace
from tests.docs.conftest import Bash
from tests.docs.pages import block
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
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "error", ROOT / "docs/examples/customerio_calls.py"],
            env={**os.environ, "CUSTOMERIO_API_KEY": KEY, "CUSTOMERIO_HOST": there.url},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "1000 of 1000 confirmed like the first\n"
    assert done.stderr == ""
    assert [message["type"] for message in there.messages[:4]] == ["identify", "track", "track", "identify"]
    assert len(there.requests) == 4
