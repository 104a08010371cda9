"""What a client for notebooks and scripts is made of: an async client, each of whose calls is waited for."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class WaitingClient:
    """Runs an async client on an event loop in a thread of its own, named `name`.

    So it works where a loop runs already, as in Jupyter. `close`, or leaving a `with` block, ends the thread.
    """

    def __init__(self, name: str, client: AbstractAsyncContextManager[object]) -> None:
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        thread.start()
        self._wait(client.__aenter__())
        self._end = weakref.finalize(self, _end, self._loop, thread, client)

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
        if self._loop.is_closed():
            call.close()
            raise RuntimeError("the client is closed; make a new one")
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:  # an interrupted cell must not leave its call running
            future.cancel()
            raise


def _end(
    loop: asyncio.AbstractEventLoop, thread: threading.Thread, client: AbstractAsyncContextManager[object]
) -> None:
    asyncio.run_coroutine_threadsafe(_leave(client), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _leave(client: AbstractAsyncContextManager[object]) -> None:
    await client.__aexit__(None, None, None)
