"""The client for notebooks and scripts: the same methods, each waiting for its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.delivery.waiting import WaitingClient
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.connection import IterableConnection


class IterableProject(WaitingClient):
    """A client without `await`, for notebooks and scripts.

        project = IterableProject("the API key", host="http://127.0.0.1:8081")
        project.update_user({"email": "ada@example.com", "dataFields": {"plan_type": "pro"}})

    It runs its own event loop in a thread, so it works where one runs already, as in Jupyter. Settings are those of
    IterableConnection. Every call waits for its answer, so nothing is lost at the end; `close`, or leaving a `with`
    block, ends the thread.
    """

    def __init__(self, api_key: str, *, retry: RetryPolicy | None = None, **settings: Any) -> None:  # noqa: ANN401 # the connection checks them
        self._client = IterableClient(IterableConnection(api_key, **settings), retry=retry)
        super().__init__("iterable", self._client)

    def update_user(self, payload: Mapping[str, object]) -> Receipt:
        """Create or update one user; `payload` holds `email` or `userId` and `dataFields`."""
        return self._wait(self._client.update_user(payload))

    def track_event(self, payload: Mapping[str, object]) -> Receipt:
        """Track one event; give it an `id`, or a retry after a lost answer stores it twice."""
        return self._wait(self._client.track_event(payload))
