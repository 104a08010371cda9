"""From a row to its messages, checked before anything is sent.

Customer.io takes a second message with a known `messageId` for a repetition and ignores it; for how long it remembers
is not published. The ids follow from that:

- An event's id is derived from what the event is: sync, event name and `id_columns`. A retry, a rerun and a backfill
  add nothing. A corrected row is the same event, so the correction is ignored too: there is no call that changes an
  event, and under a new id it would count twice.
- An identify's id is derived from the row's key and from the message itself. A retry repeats it; changed data has
  another id, so that it is not ignored.
"""

from __future__ import annotations

from collections.abc import Mapping

from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.customerio.messages import check_identifier, checked_size, encoded, message_id_of
from reverse_etl.customerio.reserved import TRAITS_OF_PERSON, check_reserved, wanted_for
from reverse_etl.customerio.values import iso_datetime
from reverse_etl.delivery.destination import Call, RenderedRow
from reverse_etl.errors import InvalidRow
from reverse_etl.mapping import FieldRenderer, json_bytes
from reverse_etl.redaction import join_key, key_of

# The kinds of call, and the types of message as well.
IDENTIFY = "identify"
TRACK = "track"


class RowRenderer:
    """Renders the rows of one sync."""

    def __init__(self, sync_name: str, key: tuple[str, ...], mapping: CustomerIODestination) -> None:
        self._columns = [
            (name, column)
            for name, column in (("userId", mapping.user_id), ("anonymousId", mapping.anonymous_id))
            if column
        ]
        self._key = key
        self._identify = _IdentifyRenderer(sync_name, mapping.identify) if mapping.identify else None
        self._track = _TrackRenderer(sync_name, mapping.track) if mapping.track else None

    def __call__(self, row: Mapping[str, object]) -> RenderedRow:
        """Return the calls of a row; raise InvalidRow with a reason code when it must not be sent."""
        person = {
            name: check_identifier(name, row[column]) for name, column in self._columns if row[column] not in (None, "")
        }
        if not person:
            raise InvalidRow("identifier_missing", "the row has neither a user id nor an anonymous id")
        key = key_of(row, self._key)
        joined = join_key(key)
        calls = []
        if self._identify is not None:
            calls.append(Call(IDENTIFY, self._identify(row, person, joined), person))
        if self._track is not None:
            calls.append(Call(TRACK, self._track(row, person, key, joined), person, self._track.event))
        identifiers = tuple([f"{name}:{value.casefold()}" for name, value in person.items()])
        return RenderedRow(identifiers, tuple(calls))


class _IdentifyRenderer:
    def __init__(self, sync_name: str, identify: Identify) -> None:
        self._scope = join_key((sync_name, IDENTIFY))
        self._timestamp = identify.timestamp
        self._render = FieldRenderer(identify.fields, iso_datetime, keep_nulls=True)
        self._reserved = [
            (field.name, wanted)
            for field in identify.fields
            if (wanted := wanted_for(field.name, TRAITS_OF_PERSON)) is not None
        ]

    def __call__(self, row: Mapping[str, object], person: Mapping[str, str], key: bytes) -> bytes:
        traits = self._render(row)
        for name, wanted in self._reserved:
            try:
                check_reserved(traits[name], wanted, name)
            except InvalidRow as problem:
                raise InvalidRow(problem.code, problem.detail, name) from None
        message: dict[str, object] = {"type": IDENTIFY, **person, "traits": traits}
        if self._timestamp:
            message["timestamp"] = _moment(row[self._timestamp])
        content = json_bytes(message)
        parts = b"%s%s%d:%s" % (self._scope, key, len(content), content)
        return checked_size(b'{"messageId":"%s",%s' % (message_id_of(parts).encode(), content[1:]))


class _TrackRenderer:
    def __init__(self, sync_name: str, track: Track) -> None:
        self.event = track.event
        self._scope = join_key((sync_name, TRACK, track.event))
        self._id_columns = track.id_columns
        self._timestamp = track.timestamp
        self._render = FieldRenderer(track.fields, iso_datetime, keep_nulls=False)

    def __call__(
        self, row: Mapping[str, object], person: Mapping[str, str], values: tuple[object, ...], joined: bytes
    ) -> bytes:
        if self._id_columns:
            values = key_of(row, self._id_columns)
            joined = join_key(values)
        if None in values:
            raise InvalidRow("event_id_missing", "a column of the event's id is NULL")
        return encoded(
            {
                "type": TRACK,
                "messageId": message_id_of(self._scope + joined),
                **person,
                "event": self.event,
                "properties": self._render(row),
                "timestamp": _moment(row[self._timestamp]),
            }
        )


def _moment(value: object) -> str:
    if value is None:
        raise InvalidRow("timestamp_missing", "the time of the message is NULL")
    return iso_datetime(value)
