"""What the workspace knows: people, visitors, events, objects, relationships, devices, suppressed identifiers.

Traits, attributes and events are kept as JSON bytes: a fraction of the memory of dictionaries. Events are two parallel
lists instead of objects, because a benchmark sends a million of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import orjson

from reverse_etl.sandbox.iterable.state import EMPTY, packed

_CIO_PREFIX: Final = "cio_"
_EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+")


class Owner:
    """Whose an event is: a person, or an anonymous visitor; `into` is the person one of them became part of."""

    __slots__ = ("event_count", "gone", "into")

    def __init__(self) -> None:
        self.event_count = 0
        self.gone = False
        self.into: Owner | None = None

    def resolved(self) -> Owner:
        """Return who it is by now."""
        owner = self
        while owner.into is not None:
            owner = owner.into
        return owner


class Person(Owner):
    """One person; `traits` and the values of `devices` are JSON."""

    __slots__ = ("anonymous_ids", "devices", "email", "id", "number", "things", "traits")

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.id: str | None = None
        self.email: str | None = None
        self.traits = EMPTY
        self.anonymous_ids: tuple[str, ...] = ()
        self.devices: dict[str, bytes] | None = None
        self.things: dict[Thing, bytes] | None = None

    @property
    def cio_id(self) -> str:
        """The identifier that Customer.io gives, which never changes."""
        return f"{self.number:012x}"


class Thing:
    """One object, as the API names what people are related to; `attributes` is JSON."""

    __slots__ = ("attributes", "id", "people", "type_id")

    def __init__(self, type_id: str, object_id: str) -> None:
        self.type_id = type_id
        self.id = object_id
        self.attributes = EMPTY
        self.people: dict[Person, None] = {}


class State:
    """The workspace with its indexes."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.people: dict[int, Person] = {}
        self._by_id: dict[str, Person] = {}
        self._by_email: dict[str, Person] = {}
        self._anonymous: dict[str, Owner] = {}
        self._device_owner: dict[str, Person] = {}
        self.things: dict[tuple[str, str], Thing] = {}
        self.suppressed: dict[str, None] = {}
        self.event_bodies: list[bytes] = []
        self.event_owners: list[Owner | None] = []
        self.events_hidden = 0
        self.events_counted = 0
        self.next_number = 1
        self.messages: Counter[str] = Counter()
        self.acted: Counter[str] = Counter()
        self.event_names: Counter[str] = Counter()

    def find(self, identifier: str) -> Person | None:
        """Return the person whom a userId names: by cio_id, by e-mail, or by id."""
        if identifier.startswith(_CIO_PREFIX):
            return self.with_cio_id(identifier.removeprefix(_CIO_PREFIX))
        if "@" in identifier and is_email(identifier):
            return self._by_email.get(identifier.lower())
        return self._by_id.get(identifier)

    def with_cio_id(self, cio_id: str) -> Person | None:
        """Return the person with this cio_id."""
        try:
            person = self.people.get(int(cio_id, 16))
        except ValueError:
            return None
        return person if person is not None and person.cio_id == cio_id else None

    def with_email(self, email: str) -> Person | None:
        """Return the person with this e-mail."""
        return self._by_email.get(email.lower())

    def create(self, identifier: str) -> Person:
        """Create the person whom a userId names; it must be unknown and no cio_id."""
        person = Person(self.next_number)
        self.next_number += 1
        self.people[person.number] = person
        if "@" in identifier and is_email(identifier):
            self.set_email(person, identifier)
        else:
            self.set_id(person, identifier)
        return person

    def set_id(self, person: Person, person_id: str) -> None:
        """Give the person an id that nobody else has."""
        if person.id is not None:
            del self._by_id[person.id]
        person.id = person_id
        self._by_id[person_id] = person

    def set_email(self, person: Person, email: str | None) -> None:
        """Give the person an e-mail that nobody else has, or take it away."""
        if person.email is not None:
            del self._by_email[person.email]
        person.email = None if email is None else email.lower()
        if person.email is not None:
            self._by_email[person.email] = person

    def remove(self, person: Person) -> None:
        """Delete the person with its devices, relationships and events."""
        del self.people[person.number]
        if person.id is not None:
            del self._by_id[person.id]
        self.set_email(person, None)
        for token in person.devices or ():
            del self._device_owner[token]
        for thing in person.things or ():
            del thing.people[person]
        person.gone = True
        self.events_hidden += person.event_count

    def anonymous(self, anonymous_id: str) -> Owner:
        """Return the visitor with this id, a new one if none is waiting to be identified."""
        visitor = self._anonymous.get(anonymous_id)
        if visitor is None:
            visitor = self._anonymous[anonymous_id] = Owner()
        return visitor

    def visitors(self) -> Iterator[tuple[str, Owner]]:
        """Go through the visitors who are not identified."""
        yield from self._anonymous.items()

    def link(self, anonymous_id: str, person: Person) -> None:
        """Make what the visitor did so far the person's; what comes later under this id waits for the next link."""
        if anonymous_id not in person.anonymous_ids:
            person.anonymous_ids = (*person.anonymous_ids, anonymous_id)
        visitor = self._anonymous.pop(anonymous_id, None)
        if visitor is not None:
            visitor.into = person
            person.event_count += visitor.event_count

    def knows_visitor(self, anonymous_id: str) -> bool:
        """Whether a visitor with this id is waiting to be identified."""
        return anonymous_id in self._anonymous

    def add_event(self, owner: Owner | None, body: bytes | None) -> None:
        """Add an event as JSON, or only count it when there is no body; an event about a group has no owner."""
        self.events_counted += 1
        if owner is not None:
            owner.event_count += 1
        if body is not None:
            self.event_bodies.append(body)
            self.event_owners.append(owner)

    @property
    def event_count(self) -> int:
        """How many events there are, without those of people who were deleted."""
        return self.events_counted - self.events_hidden

    def events(self) -> Iterator[tuple[Owner | None, bytes]]:
        """Go through the events in order of arrival, without those of people who were deleted."""
        for owner, body in zip(self.event_owners, self.event_bodies, strict=False):
            now = None if owner is None else owner.resolved()
            if now is None or not now.gone:
                yield now, body

    def put_device(self, person: Person, token: str, body: bytes) -> None:
        """Add or update a device; one that was another person's is this person's from now on."""
        before = self._device_owner.get(token)
        if before is not None and before is not person:
            self.remove_device(before, token)
        if person.devices is None:
            person.devices = {}
        person.devices[token] = body
        self._device_owner[token] = person

    def remove_device(self, person: Person, token: str) -> None:
        """Remove the device from the person, if it is this person's."""
        if person.devices is not None and person.devices.pop(token, None) is not None:
            del self._device_owner[token]

    @property
    def device_count(self) -> int:
        """How many devices there are."""
        return len(self._device_owner)

    def thing(self, type_id: str, object_id: str) -> Thing:
        """Return the object, created if there is none."""
        thing = self.things.get((type_id, object_id))
        if thing is None:
            thing = self.things[type_id, object_id] = Thing(type_id, object_id)
        return thing

    def relate(self, person: Person, thing: Thing, attributes: dict[str, Any]) -> None:
        """Relate the person to the object, merging the attributes of the relationship."""
        if person.things is None:
            person.things = {}
        before = person.things.get(thing)
        if before is None or attributes:
            known = orjson.loads(before) if before is not None else {}
            person.things[thing] = packed({**known, **attributes}) if known or attributes else EMPTY
        thing.people[person] = None

    def unrelate(self, person: Person, type_id: str, object_id: str) -> None:
        """End the relationship, if there is one."""
        thing = self.things.get((type_id, object_id))
        if thing is not None and person.things is not None and person.things.pop(thing, None) is not None:
            del thing.people[person]

    def remove_thing(self, type_id: str, object_id: str) -> None:
        """Delete the object with its relationships, if there is one."""
        thing = self.things.pop((type_id, object_id), None)
        for person in thing.people if thing is not None else ():
            if person.things is not None and thing is not None:
                del person.things[thing]

    @property
    def relationship_count(self) -> int:
        """How many relationships there are."""
        return sum(len(thing.people) for thing in self.things.values())

    def is_suppressed(self, identifier: str) -> bool:
        """Whether the identifier is blocked."""
        return suppression_key(identifier) in self.suppressed

    def suppress(self, identifier: str) -> None:
        """Block the identifier."""
        self.suppressed[suppression_key(identifier)] = None

    def unsuppress(self, identifier: str) -> None:
        """Lift the block, if there is one."""
        self.suppressed.pop(suppression_key(identifier), None)

    def merge(self, person: Person, previous: Person) -> None:
        """Fold one person into another: what the kept one lacks is taken over, then the other is no more."""
        traits = {**orjson.loads(previous.traits), **orjson.loads(person.traits)}
        devices, things = dict(previous.devices or {}), dict(previous.things or {})
        email, previous_id = previous.email, previous.id
        person.event_count += previous.event_count
        previous.event_count = 0
        self.remove(previous)
        previous.gone, previous.into = False, person
        for token, body in devices.items():
            self.put_device(person, token, body)
        for thing, attributes in things.items():
            self.relate(person, thing, orjson.loads(attributes) if not (person.things or {}).get(thing) else {})
        for anonymous_id in previous.anonymous_ids:
            self.link(anonymous_id, person)
        if person.email is None and email is not None:
            self.set_email(person, email)
        if person.id is None and previous_id is not None:
            self.set_id(person, previous_id)
        if person.email is not None:
            traits["email"] = person.email
        person.traits = packed(traits) if traits else EMPTY


def suppression_key(identifier: str) -> str:
    """Return the identifier as it is kept when blocked: an e-mail in lower case."""
    return identifier.lower() if "@" in identifier and is_email(identifier) else identifier


def is_email(identifier: str) -> bool:
    """Whether an identifier is taken for an e-mail address."""
    return _EMAIL.fullmatch(identifier) is not None
