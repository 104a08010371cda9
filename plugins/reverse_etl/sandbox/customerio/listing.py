"""State as lines of JSON for the admin interface, and filters on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from reverse_etl.sandbox.customerio.intake import Intake
from reverse_etl.sandbox.customerio.state import Person, State
from reverse_etl.sandbox.customerio.traits import is_unsubscribed


def _named(person: Person) -> dict[str, object]:
    return {"cio_id": person.cio_id, "id": person.id, "email": person.email}


def _people(state: State) -> Iterator[bytes]:
    for person in list(state.people.values()):
        yield orjson.dumps(
            {
                **_named(person),
                "anonymousIds": person.anonymous_ids,
                "unsubscribed": is_unsubscribed(orjson.loads(person.traits)),
                "traits": orjson.Fragment(person.traits),
            }
        )


def _events(state: State) -> Iterator[bytes]:
    for owner, body in state.events():
        person = orjson.dumps(owner.cio_id if isinstance(owner, Person) else None)
        yield b'%b,"person":%b}' % (body[:-1], person)


def _objects(state: State) -> Iterator[bytes]:
    for thing in list(state.things.values()):
        yield orjson.dumps(
            {
                "objectTypeId": thing.type_id,
                "objectId": thing.id,
                "attributes": orjson.Fragment(thing.attributes),
                "people": len(thing.people),
            }
        )


def _relationships(state: State) -> Iterator[bytes]:
    for thing in list(state.things.values()):
        for person in list(thing.people):
            attributes = (person.things or {})[thing]
            yield orjson.dumps(
                {
                    "objectTypeId": thing.type_id,
                    "objectId": thing.id,
                    **_named(person),
                    "attributes": orjson.Fragment(attributes),
                }
            )


def _devices(state: State) -> Iterator[bytes]:
    for person in list(state.people.values()):
        for token, body in (person.devices or {}).items():
            yield orjson.dumps({**_named(person), "token": token, **orjson.loads(body)})


def _suppressed(state: State) -> Iterator[bytes]:
    for identifier in list(state.suppressed):
        yield orjson.dumps({"identifier": identifier})


KINDS: Final[dict[str, Callable[[State], Iterator[bytes]]]] = {
    "people": _people,
    "events": _events,
    "objects": _objects,
    "relationships": _relationships,
    "devices": _devices,
    "suppressed": _suppressed,
}


def dropped(intake: Intake) -> Iterator[bytes]:
    """Go through the dropped log."""
    for entry in intake.dropped():
        yield orjson.dumps(entry)


def matching(lines: Iterator[bytes], wanted: Mapping[str, str]) -> Iterator[bytes]:
    """Go through the lines that have these values; a name may lead inside with dots, as in `traits.plan`.

    A value that is no text is compared as JSON writes it: `3`, `true`, `null`. What is absent is `null`.
    """
    if not wanted:
        yield from lines
        return
    for line in lines:
        record = orjson.loads(line)
        if all(_text(record, name) == value for name, value in wanted.items()):
            yield line


def _text(record: Any, name: str) -> str:  # noqa: ANN401 - JSON of any shape
    if isinstance(record, dict) and name in record:
        value = record[name]
    else:
        first, dot, rest = name.partition(".")
        inner = record.get(first) if isinstance(record, dict) else None
        if dot:
            return _text(inner, rest)
        value = inner
    return value if isinstance(value, str) else orjson.dumps(value).decode()
