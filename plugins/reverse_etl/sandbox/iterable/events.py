"""The event endpoints: track and read back."""

from __future__ import annotations

import uuid
from typing import Any, Final

import orjson

from reverse_etl.sandbox.exchange import Answer, Request, json_answer
from reverse_etl.sandbox.iterable import checks
from reverse_etl.sandbox.iterable.answers import bad_params, refused, success
from reverse_etl.sandbox.iterable.auth import Identity
from reverse_etl.sandbox.iterable.context import Context
from reverse_etl.sandbox.iterable.fields import FieldCheck, timestamp_text, without_nulls
from reverse_etl.sandbox.iterable.state import EMPTY, Event, User, packed
from reverse_etl.sandbox.iterable.users import open_fields

RESERVED_FIELDS: Final = frozenset({"createdAt", "itblInternal"})
NO_IDENTIFIER: Final = "Either email or userId must be specified in a track call"
FIRST_MILLISECONDS: Final = 100_000_000_000
"""A createdAt from here on is in milliseconds: as seconds it would be after the year 5138."""

_UNKNOWN: Final = "No user with this {} exists; an event does not create one"
_DEFAULT_LIMIT: Final = 30
_HIGHEST_LIMIT: Final = 200
_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, the last moment a date can show."""


def track(context: Context, request: Request, identity: Identity | None) -> Answer:
    """POST /api/events/track: add an event to a known user, or overwrite the event with the same id."""
    body = checks.check_body(request.path, request.payload, checks.TRACK, ("eventName",))
    email, user_id = checks.identifiers(body, context.settings, NO_IDENTIFIER)
    context.check_token(request, identity, email, user_id)
    name: str = body["eventName"]
    if name in context.settings.disallowed_event_names:
        return success(f"Event {name} is disallowed from tracking.")
    drop_unknown = context.settings.track_unknown_user == "drop"
    event_id, _ = add_event(context, body, email, user_id, drop_unknown=drop_unknown)
    return success(f"Event with id: {event_id} tracked.", {"id": event_id})


def add_event(
    context: Context, body: dict[str, Any], email: str | None, user_id: str | None, *, drop_unknown: bool
) -> tuple[str, FieldCheck | None]:
    """Store one event; return its id and the check of its fields, None when it has none or was dropped.

    Raises RefusedError, with nothing changed but the count of ignored fields.
    """
    given_id = body.get("id")
    event_id = uuid.uuid4().hex if given_id is None else checks.check_event_id(given_id)
    created_at = _created_at(context, body.get("createdAt"))
    context.refuse_forgotten(email, user_id)
    fields = open_fields(context, body.get("dataFields") or {}, RESERVED_FIELDS)
    user = _user(context, email, user_id, drop_unknown=drop_unknown)
    if user is None:
        context.state.events_dropped += 1
        return event_id, None
    name: str = body["eventName"]
    check = None
    if fields:
        check = FieldCheck(context.state.event_schema(name), context.settings, create_new=body.get("createNewFields"))
        fields = check.run(fields, context.settings.project_id, context.settings.event_fields_limit)
    context.state.put_event(Event(event_id, name, user, created_at, _event_body(context, body, fields)))
    return event_id, check


def _created_at(context: Context, value: int | None) -> int:
    """Return when the event happened in epoch seconds; raises RefusedError (BadParams) when no date can show it."""
    if value is None:
        return int(context.now())
    seconds = value // 1000 if value >= FIRST_MILLISECONDS else value
    if not 0 <= seconds <= _LAST_SECOND:
        raise bad_params("createdAt must be a unix timestamp")
    return seconds


def _user(context: Context, email: str | None, user_id: str | None, *, drop_unknown: bool) -> User | None:
    """Return whose event it is, None when events of unknown users are to be dropped; raises RefusedError otherwise."""
    by_email = email is not None and context.settings.project_type != "userid"
    if by_email or user_id is None:
        user = context.visible(context.state.with_email(email or ""))
    else:
        user = context.visible(context.state.with_user_id(user_id))
    if user is not None or drop_unknown:
        return user
    if by_email or user_id is None:
        raise refused(400, "UnknownEmailError", _UNKNOWN.format("email"), email=email)
    raise refused(400, "UnknownUserIdError", _UNKNOWN.format("userId"), user_id=user_id)


def _event_body(context: Context, body: dict[str, Any], fields: dict[str, Any]) -> bytes:
    if context.settings.store == "counts":
        return EMPTY
    kept: dict[str, Any] = {"dataFields": without_nulls(fields)}
    for name in ("campaignId", "templateId"):
        if body.get(name) is not None:
            kept[name] = body[name]
    return packed(kept)


def read_back(event: Event) -> dict[str, object]:
    """Return the event as the API shows it."""
    shown: dict[str, object] = {
        "id": event.id,
        "eventName": event.name,
        "createdAt": timestamp_text(event.created_at),
    }
    if event.user.email is not None:
        shown["email"] = event.user.email
    if event.user.user_id is not None:
        shown["userId"] = event.user.user_id
    return {**shown, **orjson.loads(event.body)}


def get_by_email(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """GET /api/events/{email}: the newest events of the user."""
    limit = _limit(request)
    email = checks.clean_email(request.argument, context.settings)
    return _newest(context.visible(context.state.with_email(email)), limit)


def get_by_user_id(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """GET /api/events/byUserId/{userId}: the newest events of the user."""
    limit = _limit(request)
    user_id = checks.check_user_id(request.argument)
    return _newest(context.visible(context.state.with_user_id(user_id)), limit)


def _limit(request: Request) -> int:
    text = request.query("limit")
    if text is None:
        return _DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _HIGHEST_LIMIT):
        raise bad_params(f"limit must be a number from 1 to {_HIGHEST_LIMIT}")
    return int(text)


def _newest(user: User | None, limit: int) -> Answer:
    events = (user.events or []) if user is not None else []
    newest = sorted(events, key=lambda event: event.created_at, reverse=True)[:limit]
    return json_answer(200, {"events": [read_back(event) for event in newest]})
