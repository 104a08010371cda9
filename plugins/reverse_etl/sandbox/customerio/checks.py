"""What a message must have, by type; null is the same as absent.

Fields and types from the vendor's OpenAPI document of 2026, and what its SDKs send.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from reverse_etl.sandbox.customerio.reasons import Problem

Message = dict[str, Any]

KINDS: Final = ("identify", "track", "page", "screen", "group", "alias")


class _Time:
    """In the place of a type: text that is a moment."""


_NAMES: Final[dict[type, str]] = {str: "a string", _Time: "a string", dict: "an object", list: "an array"}
_SHAPE: Final[dict[str, type]] = {
    "type": str,
    "userId": str,
    "anonymousId": str,
    "previousId": str,
    "groupId": str,
    "messageId": str,
    "event": str,
    "name": str,
    "category": str,
    "timestamp": _Time,
    "originalTimestamp": _Time,
    "sentAt": _Time,
    "traits": dict,
    "properties": dict,
    "context": dict,
    "integrations": dict,
}
_BATCH_SHAPE: Final[dict[str, type]] = {"batch": list, "context": dict, "sentAt": _Time, "messageId": str}

NOT_AN_OBJECT: Final = Problem("not_an_object")
UNKNOWN_TYPE: Final = Problem("unknown_type")
NO_BATCH: Final = Problem("no_batch")
_NO_PERSON: Final = Problem("no_person")
_NO_EVENT: Final = Problem("no_event")
_NO_GROUP: Final = Problem("no_group")
_NO_PREVIOUS: Final = Problem("no_previous")


class Checker:
    """Checks messages under some settings: whether times need a zone, whether an e-mail trait may identify."""

    def __init__(self, *, need_zone: bool, email_trait_identifies: bool) -> None:
        self._need_zone = need_zone
        self._email_trait_identifies = email_trait_identifies

    def batch(self, payload: object) -> Problem | None:
        """Return what is wrong with the body of a batch beside its items."""
        if not isinstance(payload, dict):
            return NOT_AN_OBJECT
        if not isinstance(payload.get("batch"), list):
            return NO_BATCH
        return self._shape(payload, _BATCH_SHAPE)

    def message(self, message: object, kind: str | None) -> Problem | None:
        """Return what is wrong with a message; `kind` is the type that its path says, None for an item of a batch."""
        if not isinstance(message, dict):
            return NOT_AN_OBJECT
        problem = self._shape(message, _SHAPE)
        if problem is not None:
            return problem
        given = message.get("type")
        if kind is None:
            if given not in _REQUIRED:
                return UNKNOWN_TYPE
            kind = given
        elif given is not None and given != kind:
            return Problem("other_type", f"type must be {kind} or absent on this path")
        problem = _REQUIRED[kind](message)
        if problem is _NO_PERSON and kind == "identify" and self._email_trait_identifies:
            return None if isinstance((message.get("traits") or {}).get("email"), str) else problem
        return problem

    def _shape(self, message: Message, shape: dict[str, type]) -> Problem | None:
        for name, value in message.items():
            expected = shape.get(name)
            if type(value) is expected or expected is None or value is None:
                continue
            if expected is not _Time or type(value) is not str:
                return Problem("wrong_type", f"{name} must be {_NAMES[expected]}")
            if not self._is_time(value):
                return Problem("bad_timestamp", f"{name} must be an ISO-8601 date-time with a zone")
        return None

    def _is_time(self, text: str) -> bool:
        if len(text) < 16 or text[10] not in "Tt":
            return False
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return False
        return moment.tzinfo is not None or not self._need_zone


def _person(message: Message) -> Problem | None:
    return None if message.get("userId") or message.get("anonymousId") else _NO_PERSON


def _event(message: Message) -> Problem | None:
    if not (message.get("event") or "").strip():
        return _NO_EVENT
    # The vendor's document has a third form of track, about a group alone.
    return None if message.get("groupId") else _person(message)


def _group(message: Message) -> Problem | None:
    return None if message.get("groupId") else _NO_GROUP


def _previous(message: Message) -> Problem | None:
    return None if message.get("userId") and message.get("previousId") else _NO_PREVIOUS


_REQUIRED: Final[dict[str, Callable[[Message], Problem | None]]] = {
    "identify": _person,
    "track": _event,
    "page": _person,
    "screen": _person,
    "group": _group,
    "alias": _previous,
}
