from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from reverse_etl.customerio import messages
from reverse_etl.customerio.notebook import CustomerIO
from reverse_etl.customerio.semantic.people import UserSuppressed
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.errors import CallRejected, InvalidRow
from tests.customerio.platform import KEY, Workspace


async def test_it_works_where_a_loop_runs_and_waits_for_each_answer(there: Workspace) -> None:
    def cells() -> None:
        async def cell() -> None:
            with CustomerIO(KEY, host=there.url) as customerio:
                customerio.identify("ada", {"plan": "pro"})
                customerio.track("ada", "seen", {"page": "/"})
                customerio.track("ada", UserSuppressed())
                customerio.group("g", "ada")
                customerio.page("ada", "Home")
                customerio.screen("ada", "Home")
                customerio.alias("ada", "a")
                customerio.send(messages.identify("bob"))
                assert len(customerio.batch([messages.identify("eve")])) == 1

        asyncio.run(cell())

    await asyncio.to_thread(cells)
    assert [message["type"] for message in there.messages] == [
        "identify",
        "track",
        "track",
        "group",
        "page",
        "screen",
        "alias",
        "identify",
        "identify",
    ]


async def test_messages_are_made_in_the_thread_of_the_caller(there: Workspace) -> None:
    def cells() -> None:
        rows = sqlite3.connect(":memory:")
        with closing(rows), CustomerIO(KEY, host=there.url) as customerio:
            assert len(customerio.batch(messages.identify(user) for (user,) in rows.execute("SELECT 'ada'"))) == 1

    await asyncio.to_thread(cells)


async def test_errors_come_to_the_caller_and_a_closed_client_says_so(there: Workspace) -> None:
    there.replies = [(400, b"")]

    def cells() -> None:
        customerio = CustomerIO(KEY, host=there.url, retry=RetryPolicy(tries=1))
        with pytest.raises(CallRejected):
            customerio.identify("ada")
        with pytest.raises(InvalidRow):
            customerio.identify("")
        customerio.close()
        customerio.close()
        with pytest.raises(RuntimeError, match="closed"):
            customerio.identify("ada")

    await asyncio.to_thread(cells)
    assert not [thread for thread in threading.enumerate() if thread.name == "customerio"]


async def test_one_that_is_forgotten_ends_its_thread(there: Workspace) -> None:
    def cells() -> None:
        CustomerIO(KEY, host=there.url).identify("ada")

    await asyncio.to_thread(cells)
    assert not [thread for thread in threading.enumerate() if thread.name == "customerio"]


async def test_a_call_that_another_thread_waits_for_ends_when_the_client_is_closed(there: Workspace) -> None:
    there.hold.clear()

    def cells() -> None:
        customerio = CustomerIO(KEY, host=there.url)
        seen: list[str] = []

        def wait() -> None:
            with pytest.raises(RuntimeError, match="closed"):
                customerio.identify("ada")
            seen.append("ended")

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        while not there.requests:
            threading.Event().wait(0.01)
        customerio.close()
        waiting.join(10)
        assert seen == ["ended"]

    try:
        await asyncio.to_thread(cells)
    finally:
        there.hold.set()


FORKED = """
import gc, os, sys
from reverse_etl.customerio.notebook import CustomerIO
customerio = CustomerIO("key", host=sys.argv[1])
customerio.identify("parent")
if os.fork() == 0:
    try:
        customerio.identify("child")
    except RuntimeError as problem:
        print(problem, flush=True)
    customerio.close()
    del customerio
    gc.collect()
    with CustomerIO("key", host=sys.argv[1]) as own:
        own.identify("child")
    os._exit(0)
os.wait()
customerio.identify("parent")
"""


async def test_a_forked_process_is_told_to_make_its_own_client_and_the_parents_goes_on(there: Workspace) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKED, there.url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "made before this process was forked; make a new one" in done.stdout
    assert [message["userId"] for message in there.messages] == ["parent", "child", "parent"]
