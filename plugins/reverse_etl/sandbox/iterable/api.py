"""The Iterable API as one object: the server asks it for endpoints, people and answers."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from reverse_etl.sandbox.exchange import Answer, RefusedError, Request
from reverse_etl.sandbox.iterable import answers, events, routes
from reverse_etl.sandbox.iterable.auth import Gate
from reverse_etl.sandbox.iterable.context import Context
from reverse_etl.sandbox.iterable.state import State
from reverse_etl.sandbox.limits import Limiter
from reverse_etl.sandbox.settings import Settings

_UPDATE = "POST /api/users/update"


class IterableApi:
    """Answers the requests below `/api/`."""

    prefix = "/api/"

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

    def people(self, request: Request) -> tuple[str, ...]:
        """Return whom the request is about, as `email:...` and `userId:...`; empty when it does not say."""
        if request.argument:
            kind = "userId" if "/byUserId/" in request.path else "email"
            return (_person(kind, request.argument),)
        payload = request.payload if request.body else _query_identifiers(request)
        if not isinstance(payload, dict):
            return ()
        given = ((kind, payload.get(kind)) for kind in ("email", "userId"))
        return tuple(_person(kind, identifier) for kind, identifier in given if isinstance(identifier, str))

    def answer(self, endpoint: routes.Endpoint, request: Request) -> Answer:
        """Judge key, rate and token, then let the endpoint answer."""
        context = self._context
        try:
            key = context.gate.key_of(request, endpoint.keys)
            exceeded = self._limiter.take(endpoint.name)
            if exceeded is not None:
                return answers.rate_limited(
                    request.path,
                    exceeded,
                    self._settings.project_id,
                    with_params=endpoint.name == _UPDATE,
                    retry_after=self._settings.retry_after,
                )
            return endpoint.handler(context, request, context.gate.identity_of(request, key))
        except RefusedError as refusal:
            return refusal.answer

    def too_large(self) -> Answer:
        """Build the answer to a body above the limit."""
        return answers.envelope(413, "BadParams", "The request body is too large")

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


def _person(kind: str, identifier: str) -> str:
    return f"{kind}:{identifier.lower() if kind == 'email' else identifier}"


def _query_identifiers(request: Request) -> dict[str, str | None]:
    if not request.query_string:
        return {}
    return {"email": request.query("email"), "userId": request.query("userId")}
