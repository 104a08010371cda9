"""From a row to the bodies of `users/update` and `events/track`, checked before anything is sent."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime

from reverse_etl.delivery.destination import Call, RenderedRow
from reverse_etl.emails import check_email
from reverse_etl.errors import InvalidRow
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.iterable.limits import LARGEST_CALL_BYTES, LONGEST_USER_ID
from reverse_etl.mapping import FieldRenderer, as_text, aware, json_bytes, utc_text
from reverse_etl.redaction import join_key, key_of

USER_UPDATE = "user_update"
EVENT_TRACK = "event_track"

EVENT_ID_NAMESPACE = uuid.UUID("6f0e7ad1-40a4-5c6e-8f4e-0d1f0c2f7c5b")
VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""What a UUID's variant makes of the 17th hexadecimal digit."""

LATEST_CREATED_AT = 100_000_000_000
"""Seconds; from here on Iterable may read the number as milliseconds."""


def iterable_datetime(value: datetime) -> str:
    """Return the form Iterable recognises as a date: `yyyy-MM-dd HH:mm:ss +00:00`, in UTC.

    Milliseconds with a space before the time would make it a string. Source: support article "Field Data Types".
    """
    return f"{utc_text(value, ' ')} +00:00"


class RowRenderer:
    """Renders the rows of one sync."""

    def __init__(self, sync_name: str, key: tuple[str, ...], mapping: IterableDestination) -> None:
        self._email = mapping.email
        self._user_id = mapping.user_id
        self._update = _UpdateRenderer(mapping.user) if mapping.user else None
        self._event = _EventRenderer(sync_name, key, mapping.event) if mapping.event else None

    def __call__(self, row: Mapping[str, object]) -> RenderedRow:
        """Return the calls of a row; raise InvalidRow with a reason code when it must not be sent."""
        identity = identity_of(row, self._email, self._user_id)
        calls = []
        if self._update is not None:
            calls.append(Call(USER_UPDATE, encode({**identity, **self._update(row)}), identity))
        if self._event is not None:
            calls.append(Call(EVENT_TRACK, encode({**identity, **self._event(row)}), identity, self._event.name))
        return RenderedRow(identifiers_of(identity), tuple(calls))


def identity_of(row: Mapping[str, object], email_column: str | None, user_id_column: str | None) -> dict[str, str]:
    """Return whom a row is about, under Iterable's names; raise InvalidRow when it names nobody, or badly."""
    identity = {}
    email = row[email_column] if email_column else None
    user_id = row[user_id_column] if user_id_column else None
    if email not in (None, ""):
        identity["email"] = check_email(email)
    if user_id not in (None, ""):
        identity["userId"] = check_user_id(user_id)
    if not identity:
        raise InvalidRow("identifier_missing", "the row has neither an e-mail nor a user id")
    return identity


def identifiers_of(identity: Mapping[str, str]) -> tuple[str, ...]:
    """Return the identifiers by which two rows are seen to be about one person."""
    return tuple(f"{name}:{value.casefold()}" for name, value in identity.items())


class _UpdateRenderer:
    def __init__(self, update: UserUpdate) -> None:
        self._render = FieldRenderer(update.fields, iterable_datetime, keep_nulls=True)
        self._options = {"mergeNestedObjects": True} if update.merge_nested_objects else {}

    def __call__(self, row: Mapping[str, object]) -> dict[str, object]:
        return {"dataFields": self._render(row), **self._options}


class _EventRenderer:
    def __init__(self, sync_name: str, key: tuple[str, ...], event: EventTrack) -> None:
        self.name = event.name
        self._created_at = event.created_at
        self._id_columns = event.id_columns or key
        self._ids = EventIds(sync_name, event.name)
        self._render = FieldRenderer(event.fields, iterable_datetime, keep_nulls=False)

    def __call__(self, row: Mapping[str, object]) -> dict[str, object]:
        return {
            "eventName": self.name,
            "id": self._event_id(row),
            "createdAt": self._seconds(row[self._created_at]),
            "dataFields": self._render(row),
        }

    def _event_id(self, row: Mapping[str, object]) -> str:
        values = key_of(row, self._id_columns)
        if None in values:
            raise InvalidRow("event_id_missing", "a column of the event's id is NULL")
        return self._ids(values)

    @staticmethod
    def _seconds(value: object) -> int:
        if value is None:
            raise InvalidRow("created_at_missing", "the time of the event is NULL")
        seconds = int(aware(value).timestamp())
        if not 0 <= seconds < LATEST_CREATED_AT:
            raise InvalidRow("created_at_out_of_range", "the time of the event is before 1970 or far in the future")
        return seconds


class EventIds:
    """Makes the ids of a sync's events: the same values give the same id, in letters, digits and hyphens.

    Iterable overwrites an event whose id it knows. Source: OpenAPI of `events/track`; ids are unique in a project, so
    the event's name is part of what they are made of.
    """

    def __init__(self, sync_name: str, event_name: str) -> None:
        # uuid5 of the standard library, which makes objects this has no use for and takes four times as long.
        self._begun = hashlib.sha1(EVENT_ID_NAMESPACE.bytes, usedforsecurity=False)
        self._begun.update(join_key((sync_name, event_name)).hex().encode())

    def __call__(self, values: Iterable[object]) -> str:
        """Return the id of the event with these values in its id columns."""
        hashing = self._begun.copy()
        hashing.update(join_key(values).hex().encode())
        digits = hashing.hexdigest()
        return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{VARIANTS[digits[16]]}{digits[17:20]}-{digits[20:32]}"


def check_user_id(value: object) -> str:
    """Return a user id as text: 1 to 52 printable ASCII characters without a blank at the end."""
    user_id = as_text(value)
    printable = user_id.isascii() and user_id.isprintable()
    if not printable or user_id.endswith(" ") or len(user_id) > LONGEST_USER_ID:
        raise InvalidRow(
            "user_id_malformed",
            f"expected 1 to {LONGEST_USER_ID} printable ASCII characters, no blank at the end",
        )
    return user_id


def encode(payload: Mapping[str, object]) -> bytes:
    """Return the payload as JSON bytes; raise InvalidRow when it is larger than Iterable takes."""
    body = json_bytes(payload)
    if len(body) > LARGEST_CALL_BYTES:
        raise InvalidRow("too_large", f"the call has {len(body)} bytes, at most {LARGEST_CALL_BYTES} are taken")
    return body
