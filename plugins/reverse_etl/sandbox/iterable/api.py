"""The Iterable API as one object: the server asks it for endpoints, people and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from reverse_etl.sandbox.exchange import Answer, RefusedError, Request, html_answer, people_in, person
from reverse_etl.sandbox.iterable import answers, events, routes
from reverse_etl.sandbox.iterable.auth import Gate
from reverse_etl.sandbox.iterable.context import Context
from reverse_etl.sandbox.iterable.state import State
from reverse_etl.sandbox.limits import Limiter
from reverse_etl.sandbox.settings import Settings

# The API reference of mid-2026 describes the params of a 429 for these two only.
_SAY_HOW_LONG: Final = frozenset({"POST /api/users/update", "POST /api/users/bulkUpdate"})


class IterableApi:
    """Answers the requests below `/api/`."""

    prefix = "/api/"
    request_id_header: bytes | None = b"iterable-request-id"

    def __init__(self, settings: Settings) -> None:
        self.state = State()
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Put settings in force; token buckets begin full."""
        self._settings = settings
        self._context = Context(settings, self.state, Gate(settings))
        self._limiter = Limiter(settings.limit_table())

    def resolve(self, method: str, raw_path: str) -> tuple[routes.Endpoint, str] | None:
        """Return the endpoint and the variable part of its path, or None for an unknown path."""
        return routes.resolve(method, raw_path)

    def unpacked(self, _headers: list[tuple[bytes, bytes]], body: bytes, _limit: int) -> bytes | None:
        """Return the body as it came: no encoding of a request is documented."""
        return body

    def rows(self, endpoint: routes.Endpoint | None, request: Request) -> list[Any]:
        """Return the rows of a bulk request, checked by nothing; empty when it is none or has no list of them."""
        if endpoint is None or endpoint.rows is None or not isinstance(request.payload, dict):
            return []
        rows = request.payload.get(endpoint.rows)
        return rows if isinstance(rows, list) else []

    def people(self, request: Request, rows: list[Any]) -> tuple[str, ...]:
        """Return whom the request is about, as `email:...` and `userId:...`, each once; empty when it does not say."""
        if rows:
            return tuple(people_in(rows))
        if request.argument:
            kind = "userId" if "/byUserId/" in request.path else "email"
            return (person(kind, request.argument),)
        return tuple(people_in([request.payload if request.body else _query_identifiers(request)]))

    def answer(self, endpoint: routes.Endpoint, request: Request) -> Answer:
        """Judge key, rate and token, then let the endpoint answer."""
        if request.too_large:
            return answers.envelope(413, "BadParams", "The request body is too large")
        context = self._context
        try:
            key = context.gate.key_of(request, endpoint.keys)
            exceeded = self._limiter.take(endpoint.name)
            if exceeded is not None:
                return answers.rate_limited(
                    request.path,
                    exceeded,
                    self._settings.project_id,
                    with_params=endpoint.name in _SAY_HOW_LONG,
                    retry_after=self._settings.retry_after,
                )
            return endpoint.handler(context, request, context.gate.identity_of(request, key))
        except RefusedError as refusal:
            return refusal.answer

    def unknown(self, _method: str, _raw_path: str) -> Answer:
        """Build the answer to an unknown path or a method it does not have."""
        return html_answer(404, "Page not found")

    def injected(self, status: int) -> Answer:
        """Build the answer of a fault that brings no body of its own."""
        return answers.injected(status)

    def broken(self) -> Answer:
        """Build the answer to a request the sandbox itself failed on."""
        return answers.envelope(500, "GenericError", "The sandbox failed; see its log")

    def counts(self) -> dict[str, int]:
        """Return what is stored, as counts."""
        state = self.state
        return {
            "users": state.user_count,
            "events": state.event_count,
            "events_overwritten": state.events_overwritten,
            "events_dropped": state.events_dropped,
            "reserved_fields_ignored": state.reserved_fields_ignored,
        }

    def user_lines(self) -> Iterator[bytes]:
        """Go through all users as JSON: email, userId and dataFields without managed fields."""
        for user in self.state.users():
            yield orjson.dumps(
                {"email": user.email, "userId": user.user_id, "dataFields": orjson.Fragment(user.fields)}
            )

    def event_lines(self) -> Iterator[bytes]:
        """Go through all events as JSON, as the API shows them."""
        for event in self.state.events():
            yield orjson.dumps(events.read_back(event))


def _query_identifiers(request: Request) -> dict[str, str | None]:
    if not request.query_string:
        return {}
    return {"email": request.query("email"), "userId": request.query("userId")}
