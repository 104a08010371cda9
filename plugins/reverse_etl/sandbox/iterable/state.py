"""What the project knows: users, events, field types, forgotten people.

Profiles and event bodies are kept as JSON bytes: a fraction of the memory of dictionaries, and cheap to read back.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from reverse_etl.sandbox.iterable.fields import USER_CATEGORY, Schema

EMPTY: Final = b"{}"
CHANNEL: Final = 1
"""The one e-mail channel."""
COUNTS: Final = ("events_overwritten", "events_dropped", "reserved_fields_ignored", "placeholders")
"""The counts of a state beside those of what it holds."""


def packed(value: dict[str, Any]) -> bytes:
    """Return the value as JSON in no more memory than it needs: orjson's own result keeps its larger work buffer."""
    return bytes(memoryview(orjson.dumps(value)))


class User:
    """One profile; `fields` is JSON, the times are epoch seconds, `unsubscribed` are channels."""

    __slots__ = (
        "email",
        "events",
        "fields",
        "lists",
        "signed_up",
        "unsubscribed",
        "updated",
        "user_id",
        "visible_at",
    )

    def __init__(self, signed_up: int, visible_at: float = 0) -> None:
        self.email: str | None = None
        self.user_id: str | None = None
        self.fields = EMPTY
        self.signed_up = signed_up
        self.updated = signed_up
        self.visible_at = visible_at
        self.events: list[Event] | None = None
        self.lists: tuple[int, ...] = ()
        self.unsubscribed: tuple[int, ...] = ()


class Event:
    """One event; `body` is JSON with dataFields and, when given, campaignId and templateId."""

    __slots__ = ("body", "created_at", "id", "name", "user")

    def __init__(self, event_id: str, name: str, user: User, created_at: int, body: bytes) -> None:
        self.id = event_id
        self.name = sys.intern(name)
        self.user = user
        self.created_at = created_at
        self.body = body


@dataclass(slots=True)
class _Before:
    """What a state was before the changes under way: counts, users, events added with those overwritten, types."""

    counts: dict[str, int]
    users: list[tuple[User, str | None, str | None, bytes, int]] = field(default_factory=list)
    events: list[tuple[Event, Event | None]] = field(default_factory=list)
    types: dict[str, dict[str, str] | None] = field(default_factory=dict)


class State:
    """Users and events with their indexes.

    Which identifier is unique depends on the type of the project and is the caller's rule; here either may be shared.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._by_email: dict[str, tuple[User, ...]] = {}
        self._by_user_id: dict[str, tuple[User, ...]] = {}
        self._events: dict[str, Event] = {}
        self._schemas: dict[str, Schema] = {}
        self.lists: dict[int, str] = {}
        self.forgotten_emails: dict[str, str | None] = {}
        self.forgotten_user_ids: dict[str, str | None] = {}
        self.user_count = 0
        self.events_overwritten = 0
        self.events_dropped = 0
        self.reserved_fields_ignored = 0
        self.placeholders = 0
        self._before: _Before | None = None

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Take back what was added or changed inside (nothing may be removed) when an exception ends it."""
        before = self._before = _Before({name: getattr(self, name) for name in (*COUNTS, "user_count")})
        try:
            yield
        except BaseException:
            self._before = None
            self._restore(before)
            raise
        finally:
            self._before = None

    def _restore(self, before: _Before) -> None:
        for event, overwritten in reversed(before.events):
            self._take_back(event, overwritten)
        for user, email, user_id, fields, updated in reversed(before.users):
            self.change_user(user, email, user_id, fields, updated)
        for key, types in before.types.items():
            if types is None:
                del self._schemas[key]
            else:
                self._schemas[key].types = types
        for name, count in before.counts.items():
            setattr(self, name, count)

    def with_email(self, email: str) -> tuple[User, ...]:
        """Return the users with this e-mail."""
        return self._by_email.get(email, ())

    def with_user_id(self, user_id: str) -> tuple[User, ...]:
        """Return the users with this user id."""
        return self._by_user_id.get(user_id, ())

    def users(self) -> Iterator[User]:
        """Go through all users: those with an e-mail first, then the others, each in order of creation."""
        for same in list(self._by_email.values()):
            yield from same
        for same in list(self._by_user_id.values()):
            for user in same:
                if user.email is None:
                    yield user

    def events(self) -> Iterator[Event]:
        """Go through all events in order of creation."""
        yield from list(self._events.values())

    @property
    def event_count(self) -> int:
        """How many events there are."""
        return len(self._events)

    def add_user(self, signed_up: int, visible_at: float = 0) -> User:
        """Create a user; it is found once it has an identifier."""
        self.user_count += 1
        return User(signed_up, visible_at)

    def change_user(self, user: User, email: str | None, user_id: str | None, fields: bytes, updated: int) -> None:
        """Give the user these identifiers, these fields as JSON, and the time of its last update in epoch seconds."""
        if self._before is not None:
            self._before.users.append((user, user.email, user.user_id, user.fields, user.updated))
        if user.email != email:
            _unlink(self._by_email, user.email, user)
            _link(self._by_email, email, user)
            user.email = email
        if user.user_id != user_id:
            _unlink(self._by_user_id, user.user_id, user)
            _link(self._by_user_id, user_id, user)
            user.user_id = user_id
        user.fields = fields
        user.updated = updated

    def remove(self, user: User) -> None:
        """Delete the user and its events."""
        _unlink(self._by_email, user.email, user)
        _unlink(self._by_user_id, user.user_id, user)
        for event in user.events or ():
            del self._events[event.id]
        self.user_count -= 1

    def add_list(self, name: str) -> int:
        """Make a list; return its number."""
        number = max(self.lists, default=0) + 1
        self.lists[number] = name
        return number

    def put_event(self, event: Event) -> None:
        """Add the event; one with the same id is overwritten."""
        before = self._events.get(event.id)
        if self._before is not None:
            self._before.events.append((event, before))
        if before is not None and before.user.events is not None:
            before.user.events.remove(before)
            self.events_overwritten += 1
        self._events[event.id] = event
        if event.user.events is None:
            event.user.events = [event]
        else:
            event.user.events.append(event)

    def _take_back(self, event: Event, before: Event | None) -> None:
        """Undo `put_event`, which overwrote the event `before`."""
        if event.user.events is not None:
            event.user.events.remove(event)
        if before is None:
            del self._events[event.id]
            return
        self._events[event.id] = before
        if before.user.events is not None:
            before.user.events.append(before)

    def user_schema(self) -> Schema:
        """Return the types of the profile fields."""
        return self._schema(USER_CATEGORY, USER_CATEGORY)

    def event_schema(self, event_name: str) -> Schema:
        """Return the types of the data fields of the events with this name."""
        return self._schema(f"event:{event_name}", event_name)

    def _schema(self, key: str, category: str) -> Schema:
        schema = self._schemas.get(key)
        if self._before is not None and key not in self._before.types:
            self._before.types[key] = None if schema is None else dict(schema.types)
        if schema is None:
            schema = self._schemas[key] = Schema(category)
        return schema

    def field_types(self) -> dict[str, dict[str, str]]:
        """Return the types of all categories; `user`, or `event:` and an event name."""
        return {key: schema.types for key, schema in self._schemas.items()}

    def set_field_types(self, types: dict[str, dict[str, str]]) -> None:
        """Take over the types of all categories."""
        self._schemas = {key: Schema(key.removeprefix("event:"), dict(known)) for key, known in types.items()}

    def forget(self, email: str | None, user_id: str | None) -> None:
        """Block these identifiers of one person; either lifts the block of both later."""
        email_hash = None if email is None else identifier_hash(email)
        user_id_hash = None if user_id is None else identifier_hash(user_id)
        if email_hash is not None:
            self.forgotten_emails[email_hash] = user_id_hash
        if user_id_hash is not None:
            self.forgotten_user_ids[user_id_hash] = email_hash

    def unforget(self, email: str | None, user_id: str | None) -> None:
        """Lift the block of these identifiers and of those forgotten together with them."""
        if email is not None:
            twin = self.forgotten_emails.pop(identifier_hash(email), None)
            if twin is not None:
                self.forgotten_user_ids.pop(twin, None)
        if user_id is not None:
            twin = self.forgotten_user_ids.pop(identifier_hash(user_id), None)
            if twin is not None:
                self.forgotten_emails.pop(twin, None)

    def is_forgotten(self, email: str | None, user_id: str | None) -> bool:
        """Whether one of the identifiers is blocked."""
        if self.forgotten_emails and email is not None and identifier_hash(email) in self.forgotten_emails:
            return True
        return bool(
            self.forgotten_user_ids and user_id is not None and identifier_hash(user_id) in self.forgotten_user_ids
        )


def identifier_hash(identifier: str) -> str:
    """Return the hash under which Iterable lists a forgotten identifier: SHA-256 of it, trimmed, in lower case."""
    return hashlib.sha256(identifier.strip().lower().encode()).hexdigest()


def _link(index: dict[str, tuple[User, ...]], key: str | None, user: User) -> None:
    if key is not None:
        index[key] = (*index.get(key, ()), user)


def _unlink(index: dict[str, tuple[User, ...]], key: str | None, user: User) -> None:
    if key is None:
        return
    rest = tuple(other for other in index[key] if other is not user)
    if rest:
        index[key] = rest
    else:
        del index[key]
