"""Waiting for async calls in code that has no `await`, also where an event loop runs already, as in Jupyter."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

Result = TypeVar("Result")

CLOSED = "the client is closed, or was made before this process was forked; make a new one"


def waited_for(call: Coroutine[Any, Any, Result]) -> Result:
    """Return what one call gives; where a loop runs in this thread, another thread runs it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(call)
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(asyncio.run, call).result()


class WaitingClient:
    """Runs an async client on an event loop in a thread of its own, named `name`; for notebooks and scripts.

    `close`, or leaving a `with` block, ends the thread; a call another thread is waiting for ends with RuntimeError. A
    forked process lacks the thread and makes its own client.
    """

    def __init__(self, name: str, client: AbstractAsyncContextManager[object]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()
        self._wait(client.__aenter__())
        self._end = weakref.finalize(self, _end, self._loop, self._thread, client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread; further calls raise RuntimeError."""
        self._end()

    def _wait(self, call: Coroutine[Any, Any, Result]) -> Result:
        if not self._thread.is_alive():
            call.close()
            raise RuntimeError(CLOSED)
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError(CLOSED) from None
        except BaseException:  # an interrupted cell must not leave its call running
            future.cancel()
            raise


def _end(
    loop: asyncio.AbstractEventLoop, thread: threading.Thread, client: AbstractAsyncContextManager[object]
) -> None:
    if not thread.is_alive():
        _OF_THE_PARENT.append((loop, client))
        return
    asyncio.run_coroutine_threadsafe(_leave(client), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


_OF_THE_PARENT: list[object] = []
"""Kept from being closed in a forked process: the parent's loop would no longer hear of its connections."""


async def _leave(client: AbstractAsyncContextManager[object]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for call in others:
        call.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await client.__aexit__(None, None, None)
