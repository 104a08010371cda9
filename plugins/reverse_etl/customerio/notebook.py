"""The client for notebooks and scripts: the same methods, each waiting for its answer."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.customerio.events import SemanticEvent
from reverse_etl.customerio.messages import Common, Message, User, Values
from reverse_etl.delivery.destination import Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.retry import RetryPolicy

Result = TypeVar("Result")


class CustomerIO:
    """A client without `await`, for notebooks and scripts.

        customerio = CustomerIO("the API key", host="http://127.0.0.1:8081")
        customerio.identify("4711", {"plan": "pro"})

    It runs its own event loop in a thread, so it works where one runs already, as in Jupyter. Settings are those of
    CustomerIOConnection. Every call waits for its answer, so nothing is lost at the end; `close`, or leaving a `with`
    block, ends the thread.
    """

    def __init__(self, api_key: str, *, retry: RetryPolicy | None = None, **settings: Any) -> None:  # noqa: ANN401 # the connection checks them
        connection = CustomerIOConnection(api_key, **settings)
        self._client = CustomerIOClient(connection, retry=retry)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="customerio", daemon=True)
        self._thread.start()
        self._wait(self._client.__aenter__())
        self._end = weakref.finalize(self, _end, self._loop, self._thread, self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread; further calls raise RuntimeError."""
        self._end()

    def identify(self, user: User = None, traits: Values | None = None, **common: Unpack[Common]) -> Receipt:
        """Create or update a person."""
        return self._wait(self._client.identify(user, traits, **common))

    def track(
        self, user: User, event: str | SemanticEvent, properties: Values | None = None, **common: Unpack[Common]
    ) -> Receipt:
        """Record an event, by its name or as a semantic event."""
        return self._wait(self._client.track(user, event, properties, **common))

    def group(
        self, group_id: str | int, user: User = None, traits: Values | None = None, **common: Unpack[Common]
    ) -> Receipt:
        """Create or update an object and, when a person is given, the relationship to it."""
        return self._wait(self._client.group(group_id, user, traits, **common))

    def page(
        self,
        user: User,
        name: str | None = None,
        properties: Values | None = None,
        *,
        category: str | None = None,
        **common: Unpack[Common],
    ) -> Receipt:
        """Record the view of a page."""
        return self._wait(self._client.page(user, name, properties, category=category, **common))

    def screen(
        self,
        user: User,
        name: str | None = None,
        properties: Values | None = None,
        *,
        category: str | None = None,
        **common: Unpack[Common],
    ) -> Receipt:
        """Record the view of an app's screen."""
        return self._wait(self._client.screen(user, name, properties, category=category, **common))

    def alias(self, user: str | int, previous: str | int, **common: Unpack[Common]) -> Receipt:
        """Fold the identifier `previous` into the one of `user`, which is kept."""
        return self._wait(self._client.alias(user, previous, **common))

    def batch(self, batch: Iterable[Message]) -> list[Verdict]:
        """Send messages made by the functions of `messages`; return the verdict on each, in their order."""
        return self._wait(self._client.batch(batch))

    def send(self, message: Message) -> Receipt:
        """Send one message made by a function of `messages`."""
        return self._wait(self._client.send(message))

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


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread, client: CustomerIOClient) -> None:
    asyncio.run_coroutine_threadsafe(client.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
