"""The events that act on people, devices, objects and relationships instead of being stored.

Names are case-sensitive; blanks around them are trimmed beforehand. All other semantic events are stored as events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from reverse_etl.sandbox.customerio.checks import Message
from reverse_etl.sandbox.customerio.effects import Effects, LostError, object_type
from reverse_etl.sandbox.customerio.state import Person
from reverse_etl.sandbox.iterable.state import packed

_CIO_PREFIX: Final = "cio_"

Action = Callable[[Effects, Message, str], None]


def _delete_person(effects: Effects, message: Message, _received_at: str) -> None:
    person = effects.state.find(_user_id(message))
    if person is not None:
        effects.state.remove(person)


def _suppress_person(effects: Effects, message: Message, received_at: str) -> None:
    user_id, state = _user_id(message), effects.state
    identifiers: tuple[str | None, ...] = (user_id,)
    if user_id.startswith(_CIO_PREFIX):
        person = _known(effects, user_id)
        identifiers = (person.id, person.email)
    _delete_person(effects, message, received_at)
    for identifier in identifiers:
        if identifier is not None:
            state.suppress(identifier)


def _unsuppress_person(effects: Effects, message: Message, _received_at: str) -> None:
    effects.state.unsuppress(_user_id(message))


def _put_device(effects: Effects, message: Message, received_at: str) -> None:
    user_id, (token, device) = _user_id(message), _device(message)
    app = _object(_object(message, "context"), "app")
    body = {
        "type": device.get("type"),
        "app": app.get("namespace"),
        "attributes": message.get("properties") or {},
        "updatedAt": message.get("timestamp") or received_at,
    }
    effects.state.put_device(effects.person(user_id), token, packed(body))


def _delete_device(effects: Effects, message: Message, _received_at: str) -> None:
    user_id, (token, _) = _user_id(message), _device(message)
    person = effects.state.find(user_id)
    if person is not None:
        effects.state.remove_device(person, token)


def _delete_object(effects: Effects, message: Message, _received_at: str) -> None:
    effects.state.remove_thing(*_object_key(message))


def _delete_relationship(effects: Effects, message: Message, _received_at: str) -> None:
    user_id, key = _user_id(message), _object_key(message)
    person = effects.state.find(user_id)
    if person is not None:
        effects.state.unrelate(person, *key)


# `Group Deleted` is the older name, which the vendor's documents of 2026 no longer list.
ACTIONS: Final[dict[str, Action]] = {
    "User Deleted": _delete_person,
    "User Suppressed": _suppress_person,
    "User Unsuppressed": _unsuppress_person,
    "Device Created or Updated": _put_device,
    "Device Deleted": _delete_device,
    "Object Deleted": _delete_object,
    "Group Deleted": _delete_object,
    "Relationship Deleted": _delete_relationship,
}

ABOUT_SUPPRESSED: Final = frozenset({"User Suppressed", "User Unsuppressed"})
"""What still acts on a suppressed identifier."""


def _user_id(message: Message) -> str:
    user_id: str | None = message.get("userId")
    if not user_id:
        raise LostError("needs_user_id")
    return user_id


def _known(effects: Effects, user_id: str) -> Person:
    person = effects.state.find(user_id)
    if person is None:
        raise LostError("unknown_cio_id")
    return person


def _object(value: Message, name: str) -> dict[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def _device(message: Message) -> tuple[str, dict[str, Any]]:
    device = _object(_object(message, "context"), "device")
    token = device.get("token")
    if not isinstance(token, str) or not token:
        raise LostError("needs_device_token")
    return token, device


def _object_key(message: Message) -> tuple[str, str]:
    """Return type and id of the object; the vendor's older text has the id in groupId, which is taken as well."""
    properties = _object(message, "properties")
    object_id = properties.get("objectId") or message.get("groupId")
    if type(object_id) is int:
        object_id = str(object_id)
    if not isinstance(object_id, str):
        raise LostError("needs_object_id")
    return object_type(properties.get("objectTypeId")), object_id
