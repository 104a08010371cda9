"""What an accepted message does: people, events, objects and relationships, aliases.

A message that takes no effect although it was accepted raises LostError; the API would not tell its sender.
"""

from __future__ import annotations

from typing import Any

import orjson

from reverse_etl.sandbox.customerio.checks import Message
from reverse_etl.sandbox.customerio.settings import CustomerIoSettings
from reverse_etl.sandbox.customerio.state import Owner, Person, State, is_email
from reverse_etl.sandbox.customerio.traits import Traits, merged
from reverse_etl.sandbox.iterable.state import EMPTY, packed

_CIO_PREFIX = "cio_"
_NOT_ATTRIBUTES = frozenset({"objectTypeId", "object_type_id", "relationshipAttributes"})

VERSION = 1
"""What the read-only field `version` says; the vendor gives its type, not its value."""


class LostError(Exception):
    """The message has no effect, for the reason with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Effects:
    """Applies messages to a state; `keep_bodies` says whether traits and events are kept or only counted."""

    def __init__(self, state: State, settings: CustomerIoSettings, *, keep_bodies: bool) -> None:
        self.state = state
        self._settings = settings
        self._keep_bodies = keep_bodies

    def identify(self, message: Message) -> None:
        """Create the person or merge the traits; with both ids, link what the visitor did before."""
        user_id, anonymous_id = message.get("userId"), message.get("anonymousId")
        traits: Traits = message.get("traits") or {}
        email = _email_of(traits)
        if email is not None and self.state.suppressed and self.state.is_suppressed(email):
            raise LostError("suppressed")
        identifier = user_id or (email if self._settings.identify_by_email_trait else None)
        if not identifier:
            return
        person = self._identified(identifier, email)
        if traits or person.email is not None:
            self._set_traits(person, traits, email)
        if anonymous_id:
            self.state.link(anonymous_id, person)

    def _identified(self, identifier: str, email: str | None) -> Person:
        """Return the person to update, a new one if needed; the e-mail is free or the person's own afterwards."""
        state = self.state
        person = state.find(identifier)
        holder = state.with_email(email) if email is not None else None
        if holder is None or holder is person:
            return person or self._created(identifier)
        if person is None and holder.id is None and not is_email(identifier) and not identifier.startswith(_CIO_PREFIX):
            state.set_id(holder, identifier)
            return holder
        raise LostError("email_taken")

    def _created(self, identifier: str) -> Person:
        if identifier.startswith(_CIO_PREFIX):
            raise LostError("unknown_cio_id")
        return self.state.create(identifier)

    def _set_traits(self, person: Person, traits: Traits, email: str | None) -> None:
        if email is not None:
            self.state.set_email(person, email)
        elif person.id is not None and "email" in traits and traits["email"] is None:
            self.state.set_email(person, None)
        if not self._keep_bodies:
            return
        known = {} if person.traits is EMPTY else orjson.loads(person.traits)
        after = merged(known, traits)
        if person.email is not None:
            after["email"] = person.email
        person.traits = packed(after)

    def person(self, user_id: str) -> Person:
        """Return the person whom a message other than identify is about; raises LostError."""
        person = self.state.find(user_id)
        if person is not None:
            return person
        if not self._settings.events_create_people:
            raise LostError("unknown_person")
        person = self._created(user_id)
        if person.email is not None and self._keep_bodies:
            person.traits = packed({"email": person.email})
        return person

    def event(self, message: Message, kind: str, received_at: str) -> None:
        """Add an event of a person, of a visitor, or of a group."""
        user_id, anonymous_id = message.get("userId"), message.get("anonymousId")
        owner: Owner | None = None
        if user_id:
            owner = person = self.person(user_id)
            if anonymous_id:
                self.state.link(anonymous_id, person)
        elif anonymous_id:
            owner = self.state.anonymous(anonymous_id)
        if kind == "track":
            self.state.event_names[message["event"]] += 1
        self.state.add_event(owner, _filled(message, kind, received_at) if self._keep_bodies else None)

    def group(self, message: Message) -> None:
        """Create the object or merge its attributes, and relate the person, if one is named."""
        traits: dict[str, Any] = message.get("traits") or {}
        type_id = object_type(traits.get("objectTypeId", traits.get("object_type_id")))
        relationship = traits.get("relationshipAttributes")
        user_id = message.get("userId")
        person = self.person(user_id) if user_id else None
        thing = self.state.thing(type_id, message["groupId"])
        given = {name: value for name, value in traits.items() if name not in _NOT_ATTRIBUTES}
        if given and self._keep_bodies:
            thing.attributes = packed(merged(orjson.loads(thing.attributes), given))
        if person is not None:
            if message.get("anonymousId"):
                self.state.link(message["anonymousId"], person)
            kept = relationship if isinstance(relationship, dict) and self._keep_bodies else {}
            self.state.relate(person, thing, kept)

    def alias(self, message: Message) -> None:
        """Fold the person or visitor of previousId into that of userId; an unknown previousId changes nothing."""
        if self._settings.alias == "ignore":
            return
        user_id, previous_id = message["userId"], message["previousId"]
        previous = self.state.find(previous_id)
        if previous is not None:
            person = self.person(user_id)
            if person is not previous:
                self.state.merge(person, previous)
        elif self.state.knows_visitor(previous_id):
            self.state.link(previous_id, self.person(user_id))


def object_type(value: object) -> str:
    """Return the type of an object as text, `1` when there is none; raises LostError when it is no whole number."""
    if value is None:
        return "1"
    text = str(value) if type(value) is int else value
    if isinstance(text, str) and text.isascii() and text.isdigit():
        return text
    raise LostError("bad_object_type")


def _email_of(traits: Traits) -> str | None:
    email = traits.get("email")
    return email if isinstance(email, str) and is_email(email) else None


def _filled(message: Message, kind: str, received_at: str) -> bytes:
    """Return the message as the API keeps it: without nulls, with what it sets itself."""
    kept = {name: value for name, value in message.items() if value is not None}
    kept["type"] = kind
    kept["receivedAt"] = received_at
    kept["version"] = VERSION
    kept.setdefault("timestamp", received_at)
    return packed(kept)
