"""How rows become Customer.io messages: frozen dataclasses that refuse what Customer.io would not take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from reverse_etl.customerio.reserved import TRAITS_OF_PERSON, check_reserved, wanted_for
from reverse_etl.errors import ConfigurationError, InvalidRow
from reverse_etl.kinds import IDENTIFIER_KINDS, check_field, check_kind
from reverse_etl.mapping import Constant, Field, FieldLike, as_tuple, check_fields, check_name, check_part, columns_of
from reverse_etl.mirror import REMOVED_AT, cannot_remove, check_constants

ACTING_EVENTS = (
    "User Deleted",
    "User Suppressed",
    "User Unsuppressed",
    "Device Created or Updated",
    "Device Deleted",
    "Object Deleted",
    "Relationship Deleted",
)
"""Names of events that Customer.io carries out instead of recording them. Source: vendor OpenAPI of 2026."""

_ACTING = frozenset(name.casefold() for name in ACTING_EVENTS)


@dataclass(frozen=True, slots=True)
class Identify:
    """One `identify` per row; the fields become traits. NULL in a column goes out as null.

    `timestamp` is the column with the time the data is of, such as `updated_at`. With it, data that changes and
    changes back within Customer.io's memory of messages counts as new; without it the second change may be taken for
    a repetition of the first message.
    """

    fields: tuple[FieldLike, ...]
    timestamp: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", as_tuple("Identify.fields", self.fields))
        if not self.fields:
            raise ConfigurationError("Identify.fields is empty, expected at least one Field or Constant")
        if self.timestamp is not None:
            check_name("Identify.timestamp", self.timestamp)
        check_fields("Identify.fields", self.fields, ())
        for field in self.fields:
            if isinstance(field, Constant):
                _check_constant(field)


@dataclass(frozen=True, slots=True)
class Track:
    """One `track` per row, `timestamp` being the column with the time of the event; the fields become properties.

    The message's id is derived from the sync's name, the event's name and `id_columns` (the sync's key unless given),
    so the same row does not add a second event. NULL columns are left out of the event. The names of ACTING_EVENTS are
    refused.
    """

    event: str
    timestamp: str
    fields: tuple[FieldLike, ...] = ()
    id_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("Track.event", self.event)
        check_name("Track.timestamp", self.timestamp)
        # Only a removal has this time, which the mirror of a sync gives its rows.
        if self.timestamp != REMOVED_AT and " ".join(self.event.split()).casefold() in _ACTING:
            raise ConfigurationError(
                f"Track.event is {self.event!r}, which Customer.io carries out for every row instead of recording it; "
                "choose another name. People are deleted or suppressed by reverse-etl forget, and those who leave the "
                "source by Sync.mirror with Mirror(removal=...)"
            )
        object.__setattr__(self, "fields", as_tuple("Track.fields", self.fields))
        object.__setattr__(self, "id_columns", as_tuple("Track.id_columns", self.id_columns))
        for column in self.id_columns:
            check_name("Track.id_columns", column)
        check_fields("Track.fields", self.fields, ())


@dataclass(frozen=True, slots=True)
class SuppressPerson:
    """A removal: Customer.io deletes the person and takes no more data of that user id (`User Suppressed`)."""


@dataclass(frozen=True, slots=True)
class DeletePerson:
    """A removal: Customer.io deletes the person, whom later data creates anew (`User Deleted`)."""


@dataclass(frozen=True, slots=True)
class RemoveFromObject:
    """A removal: Customer.io ends the person's relationship with an object, such as a list or a plan.

    `object_type_id` is the number of the object's type (`Relationship Deleted`).
    """

    object_id: str
    object_type_id: int = 1

    def __post_init__(self) -> None:
        check_name("RemoveFromObject.object_id", self.object_id)
        if isinstance(self.object_type_id, bool) or not isinstance(self.object_type_id, int) or self.object_type_id < 1:
            raise ConfigurationError(
                f"RemoveFromObject.object_type_id is {self.object_type_id!r}, expected the number of a type"
            )


REMOVAL_EVENTS: Mapping[type, str] = {
    SuppressPerson: "User Suppressed",
    DeletePerson: "User Deleted",
    RemoveFromObject: "Relationship Deleted",
}


@dataclass(frozen=True, slots=True)
class CustomerIODestination:
    """Where and how the rows of a sync reach Customer.io.

    `user_id` and `anonymous_id` name the columns that identify a person; one of the two is enough, and a row may lack
    one of them when both are named. A user id may be an e-mail address. The identify goes first, then the event.
    """

    hook_class: ClassVar[str] = "reverse_etl.customerio.hook.CustomerIOHook"

    user_id: str | None = None
    anonymous_id: str | None = None
    identify: Identify | None = None
    track: Track | None = None
    conn_id: str = "customerio_default"

    def __post_init__(self) -> None:
        for name in ("user_id", "anonymous_id", "conn_id"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ConfigurationError(f"CustomerIODestination.{name} is {value!r}, expected text")
        if not self.user_id and not self.anonymous_id:
            raise ConfigurationError(
                "CustomerIODestination names no person, expected user_id= or anonymous_id= with a column"
            )
        if self.identify is None and self.track is None:
            raise ConfigurationError(
                "CustomerIODestination sends nothing, expected identify=Identify(...) or track=Track(...)"
            )
        check_part("CustomerIODestination.identify", self.identify, Identify)
        check_part("CustomerIODestination.track", self.track, Track)
        if not self.conn_id:
            raise ConfigurationError("CustomerIODestination.conn_id is empty, expected a connection id")

    def columns(self) -> tuple[str, ...]:
        """Return the source columns the mapping reads."""
        columns = [*self.identifiers(), *columns_of(self._fields())]
        columns += [column for _, column in self._times()]
        if self.track is not None:
            columns += self.track.id_columns
        return tuple(dict.fromkeys(columns))

    def identifiers(self) -> tuple[str, ...]:
        """Return the source columns that identify a person."""
        return tuple(column for column in (self.user_id, self.anonymous_id) if column)

    def event_ids(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """Return the source columns that tell events apart; none without an event."""
        return (self.track.id_columns or key) if self.track else ()

    def removal(self, action: object, key: tuple[str, ...]) -> Self:
        """Return where rows that have left the source go; raise ConfigurationError for an action that is not ours.

        Messages with a known id are ignored, so the time is part of the ids: of removals that of the removal, of
        identifies that of the row, as somebody may come back with the same traits.
        """
        if self.identify is not None and not self.identify.timestamp:
            raise ConfigurationError(
                "Identify.timestamp is not given, but with Sync.mirror it must be: Customer.io would take the same "
                "traits for a repetition when somebody comes back; name a column that changes then, such as updated_at"
            )
        if isinstance(action, Identify):
            check_constants("Identify of Mirror.removal", action.fields)
            return replace(self, identify=replace(action, timestamp=REMOVED_AT), track=None)
        event = REMOVAL_EVENTS.get(type(action))
        if event is None:
            raise cannot_remove(
                self, action, "Identify(...), RemoveFromObject(...), SuppressPerson() or DeletePerson()"
            )
        if not self.user_id:
            raise ConfigurationError(f"{type(action).__name__} needs CustomerIODestination.user_id, there is none")
        fields = (
            (Constant("objectId", action.object_id), Constant("objectTypeId", action.object_type_id))
            if isinstance(action, RemoveFromObject)
            else ()
        )
        track = Track(event, timestamp=REMOVED_AT, fields=fields, id_columns=(*key, REMOVED_AT))
        return replace(self, anonymous_id=None, identify=None, track=track)

    def check_kinds(self, kinds: Mapping[str, str]) -> None:
        """Raise ConfigurationError when a column has a type that no value of it could be sent as."""
        for column in self.identifiers():
            check_kind("an identifier", column, kinds[column], IDENTIFIER_KINDS)
        for name, column in self._times():
            check_kind(name, column, kinds[column], ("datetime",))
        for field in self._fields():
            if isinstance(field, Field):
                check_field(field, kinds[field.column])

    def _times(self) -> list[tuple[str, str]]:
        times = []
        if self.identify is not None and self.identify.timestamp:
            times.append(("Identify.timestamp", self.identify.timestamp))
        if self.track is not None:
            times.append(("Track.timestamp", self.track.timestamp))
        return times

    def _fields(self) -> tuple[FieldLike, ...]:
        traits = self.identify.fields if self.identify else ()
        return traits + (self.track.fields if self.track else ())


def _check_constant(field: Constant) -> None:
    wanted = wanted_for(field.name, TRAITS_OF_PERSON)
    if wanted is None:
        return
    try:
        check_reserved(field.value, wanted, field.name)
    except InvalidRow as problem:
        raise ConfigurationError(f"Constant of Identify.fields: {problem.detail}") from None
