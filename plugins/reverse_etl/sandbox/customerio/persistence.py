"""The lines of the state file for the Customer.io side; they come after those of the Iterable side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import orjson

from reverse_etl.sandbox.customerio.api import CustomerIoApi
from reverse_etl.sandbox.customerio.state import Owner, Person, State
from reverse_etl.sandbox.iterable.state import EMPTY, packed

_IDS_PER_LINE: Final = 1000

Line = dict[str, Any]


def header(api: CustomerIoApi) -> Line:
    """Return what the first line of the file says: how many lines of each kind there are, and the counts."""
    state, intake = api.state, api.intake
    return {
        "people": len(state.people),
        "things": len(state.things),
        "events": sum(1 for _ in state.events()),
        "seen": sum(1 for _ in _seen_lines(api)),
        "suppressed": list(state.suppressed),
        "next_number": state.next_number,
        "events_without_body": state.event_count - sum(1 for _ in state.events()),
        "messages": state.messages,
        "acted": state.acted,
        "event_names": state.event_names,
        "dropped": intake.dropped_by_reason,
        "duplicates": intake.duplicates,
    }


def lines(api: CustomerIoApi) -> Iterator[Line]:
    """Go through the state: people, objects with relationships, events, seen messageIds; not the dropped log."""
    state = api.state
    bodies = Counter(owner for owner, _ in state.events())
    for person in state.people.values():
        yield {
            "number": person.number,
            "id": person.id,
            "email": person.email,
            "anonymous_ids": person.anonymous_ids,
            "events_without_body": person.event_count - bodies[person],
            "traits": orjson.Fragment(person.traits),
            "devices": {token: orjson.Fragment(body) for token, body in (person.devices or {}).items()},
        }
    for thing in state.things.values():
        related = {str(person.number): orjson.Fragment((person.things or {})[thing]) for person in thing.people}
        attributes = orjson.Fragment(thing.attributes)
        yield {"type_id": thing.type_id, "id": thing.id, "attributes": attributes, "people": related}
    names = {visitor: name for name, visitor in state.visitors()}
    for owner, body in state.events():
        number = owner.number if isinstance(owner, Person) else None
        visitor = names.get(owner) if owner is not None and number is None else None
        yield {"person": number, "visitor": visitor, "body": orjson.Fragment(body)}
    yield from _seen_lines(api)


def _seen_lines(api: CustomerIoApi) -> Iterator[Line]:
    for key, seen in api.intake.seen.items():
        items = iter(seen.items())
        while some := list(islice(items, _IDS_PER_LINE)):
            yield {"key": key, "ids": [message_id for message_id, _ in some], "at": [at for _, at in some]}


class Loader:
    """Fills an empty API from the header, then from one line after the other."""

    def __init__(self, api: CustomerIoApi, head: Line) -> None:
        self._api = api
        state, intake = api.state, api.intake
        state.suppressed = dict.fromkeys(head["suppressed"])
        state.next_number = head["next_number"]
        state.events_counted = head["events_without_body"]
        state.messages.update(head["messages"])
        state.acted.update(head["acted"])
        state.event_names.update(head["event_names"])
        intake.dropped_by_reason.update(head["dropped"])
        intake.duplicates = head["duplicates"]
        self._takers = [
            *[self._take_person] * head["people"],
            *[self._take_thing] * head["things"],
            *[self._take_event] * head["events"],
            *[self._take_seen] * head["seen"],
        ]

    @property
    def line_count(self) -> int:
        """How many lines there are to take."""
        return len(self._takers)

    def take(self, number: int, line: Line) -> None:
        """Take the line with this number, from 0."""
        self._takers[number](self._api.state, line)

    @staticmethod
    def _take_person(state: State, line: Line) -> None:
        person = Person(line["number"])
        state.people[person.number] = person
        if line["id"] is not None:
            state.set_id(person, line["id"])
        state.set_email(person, line["email"])
        person.event_count = line["events_without_body"]
        person.anonymous_ids = tuple(line["anonymous_ids"])
        person.traits = packed(line["traits"]) if line["traits"] else EMPTY
        for token, body in line["devices"].items():
            state.put_device(person, token, packed(body))

    @staticmethod
    def _take_thing(state: State, line: Line) -> None:
        thing = state.thing(line["type_id"], line["id"])
        thing.attributes = packed(line["attributes"]) if line["attributes"] else EMPTY
        for number, attributes in line["people"].items():
            state.relate(state.people[int(number)], thing, attributes)

    @staticmethod
    def _take_event(state: State, line: Line) -> None:
        owner: Owner | None = None
        if line["person"] is not None:
            owner = state.people[line["person"]]
        elif line["visitor"] is not None:
            owner = state.anonymous(line["visitor"])
        state.add_event(owner, packed(line["body"]))

    def _take_seen(self, _state: State, line: Line) -> None:
        seen = self._api.intake.seen.setdefault(line["key"], {})
        seen.update(zip(line["ids"], line["at"], strict=True))
