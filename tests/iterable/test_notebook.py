from __future__ import annotations

import asyncio
import threading

import pytest

from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.errors import CallRejected, ConnectionFailed
from reverse_etl.iterable.notebook import IterableProject
from reverse_etl.sandbox.testing import SERVER_KEY, SandboxServer


def test_it_works_where_a_loop_runs_and_waits_for_each_answer() -> None:
    async def cell() -> None:
        with IterableProject(SERVER_KEY, host=sandbox.url) as project:
            assert project.update_user({"email": "ada@example.com", "dataFields": {"plan": "pro"}}).status == 200
            project.track_event({"email": "ada@example.com", "eventName": "seen", "id": "seen-1"})

    with SandboxServer() as sandbox:
        asyncio.run(cell())
        assert [user["dataFields"] for user in sandbox.users()] == [{"plan": "pro"}]
        assert [event["id"] for event in sandbox.events()] == ["seen-1"]
    assert not [thread for thread in threading.enumerate() if thread.name == "iterable"]


def test_errors_come_to_the_caller_and_a_closed_client_says_so() -> None:
    with SandboxServer() as sandbox:
        project = IterableProject(SERVER_KEY, host=sandbox.url, retry=RetryPolicy(tries=1))
        with pytest.raises(CallRejected, match="InvalidEmailAddressError"):
            project.update_user({"email": "no e-mail", "dataFields": {}})
        sandbox.faults([{"kind": "reset", "times": 1}])
        with pytest.raises(ConnectionFailed):
            project.update_user({"email": "ada@example.com", "dataFields": {}})
        project.close()
        with pytest.raises(RuntimeError, match="closed"):
            project.update_user({"email": "ada@example.com", "dataFields": {}})
