"""How rows become Iterable calls: frozen dataclasses that refuse what Iterable would not take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from reverse_etl.errors import ConfigurationError
from reverse_etl.kinds import IDENTIFIER_KINDS, check_field, check_kind
from reverse_etl.mapping import Field, FieldLike, as_tuple, check_fields, check_name, check_part, columns_of
from reverse_etl.mirror import cannot_remove, check_constants

# Source: support article "User Profile Fields Used by Iterable": fields the platform writes itself, and the
# identifiers, which are set through `email` and `user_id` below.
RESERVED_PROFILE_FIELDS = frozenset(
    {
        "devices",
        "email",
        "emailListIds",
        "itblDS",
        "itblInternal",
        "itblUserId",
        "profileUpdatedAt",
        "receivedSMSDisclaimer",
        "shoppingCartItems",
        "signupDate",
        "signupSource",
        "subscribedMessageTypeIds",
        "unsubscribedChannelIds",
        "unsubscribedMessageTypeIds",
        "userId",
    }
)
RESERVED_EVENT_FIELDS = frozenset({"createdAt", "email", "eventName", "itblInternal", "userId"})


@dataclass(frozen=True, slots=True)
class UserUpdate:
    """One `users/update` per row. NULL in a column deletes the profile field, as Iterable does with null."""

    fields: tuple[FieldLike, ...]
    merge_nested_objects: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", as_tuple("UserUpdate.fields", self.fields))
        if not isinstance(self.merge_nested_objects, bool):
            raise ConfigurationError(
                f"UserUpdate.merge_nested_objects is {self.merge_nested_objects!r}, expected True or False"
            )
        if not self.fields:
            raise ConfigurationError("UserUpdate.fields is empty, expected at least one Field or Constant")
        check_fields("UserUpdate.fields", self.fields, RESERVED_PROFILE_FIELDS)


@dataclass(frozen=True, slots=True)
class EventTrack:
    """One `events/track` per row, `created_at` being the column with the time of the event.

    The event's id is derived from the sync's name, the event's name and `id_columns` (the sync's key unless given), so
    the same row overwrites its event instead of adding one. NULL columns are left out of the event.
    """

    name: str
    created_at: str
    fields: tuple[FieldLike, ...] = ()
    id_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("EventTrack.name", self.name)
        check_name("EventTrack.created_at", self.created_at)
        object.__setattr__(self, "fields", as_tuple("EventTrack.fields", self.fields))
        object.__setattr__(self, "id_columns", as_tuple("EventTrack.id_columns", self.id_columns))
        for column in self.id_columns:
            check_name("EventTrack.id_columns", column)
        check_fields("EventTrack.fields", self.fields, RESERVED_EVENT_FIELDS)


@dataclass(frozen=True, slots=True)
class DeleteUser:
    """A removal: Iterable deletes the user, whom later data creates anew."""


@dataclass(frozen=True, slots=True)
class RemoveFromList:
    """A removal: Iterable takes the user off a static list, `list_id` being its number.

    With `unsubscribe_channel` also off the list's e-mail channel, which stops all messages of it. This adds to what
    the user has opted out of; `users/updateSubscriptions` would replace it, and undo what people chose themselves.
    Source: OpenAPI of `lists/unsubscribe`. It is a bulk endpoint, closed to JWT-enabled keys.
    """

    list_id: int
    unsubscribe_channel: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.list_id, bool) or not isinstance(self.list_id, int) or self.list_id < 1:
            raise ConfigurationError(f"RemoveFromList.list_id is {self.list_id!r}, expected the number of a list")
        if not isinstance(self.unsubscribe_channel, bool):
            raise ConfigurationError(
                f"RemoveFromList.unsubscribe_channel is {self.unsubscribe_channel!r}, expected True or False"
            )


@dataclass(frozen=True, slots=True)
class IterableRemoval:
    """`action` is done to the users of rows, named by e-mail where the row has one, else by user id."""

    hook_class: ClassVar[str] = "reverse_etl.iterable.hook.IterableHook"

    email: str | None
    user_id: str | None
    conn_id: str
    action: DeleteUser | RemoveFromList

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return self.identifiers()

    def identifiers(self) -> tuple[str, ...]:
        """Return the source columns that identify a person."""
        return tuple(column for column in (self.email, self.user_id) if column)

    def event_ids(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """Return no column: a removal is no event."""
        del key
        return ()

    def removal(self, action: object, key: tuple[str, ...]) -> IterableRemoval:
        """Raise ConfigurationError: a removal is not removed again."""
        del key
        raise cannot_remove(self, action, "no removal")

    def check_kinds(self, kinds: Mapping[str, str]) -> None:
        """Raise ConfigurationError when a column has a type that no value of it could be sent as."""
        for column in self.identifiers():
            check_kind("an identifier", column, kinds[column], IDENTIFIER_KINDS)


@dataclass(frozen=True, slots=True)
class IterableDestination:
    """Where and how the rows of a sync reach Iterable.

    `email` and `user_id` name the columns that identify a person; one of the two is enough, and a row may lack one of
    them when both are named. The update goes first, then the event. `calls` chooses between up to 1,000 calls per
    request and one; a JWT-enabled key is for single calls only.
    """

    hook_class: ClassVar[str] = "reverse_etl.iterable.hook.IterableHook"

    email: str | None = None
    user_id: str | None = None
    user: UserUpdate | None = None
    event: EventTrack | None = None
    conn_id: str = "iterable_default"
    calls: Literal["bulk", "single"] = "bulk"

    def __post_init__(self) -> None:
        for name in ("email", "user_id", "conn_id"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ConfigurationError(f"IterableDestination.{name} is {value!r}, expected text")
        if not self.email and not self.user_id:
            raise ConfigurationError("IterableDestination names no person, expected email= or user_id= with a column")
        if self.user is None and self.event is None:
            raise ConfigurationError(
                "IterableDestination sends nothing, expected user=UserUpdate(...) or event=EventTrack(...)"
            )
        check_part("IterableDestination.user", self.user, UserUpdate)
        check_part("IterableDestination.event", self.event, EventTrack)
        if self.calls not in ("bulk", "single"):
            raise ConfigurationError(f"IterableDestination.calls is {self.calls!r}, expected 'bulk' or 'single'")
        if not self.conn_id:
            raise ConfigurationError("IterableDestination.conn_id is empty, expected a connection id")

    def columns(self) -> tuple[str, ...]:
        """Return the source columns the mapping reads."""
        columns = [*self.identifiers(), *columns_of(self._fields())]
        if self.event is not None:
            columns += [self.event.created_at, *self.event.id_columns]
        return tuple(dict.fromkeys(columns))

    def identifiers(self) -> tuple[str, ...]:
        """Return the source columns that identify a person."""
        return tuple(column for column in (self.email, self.user_id) if column)

    def event_ids(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """Return the source columns that tell events apart; none without an event."""
        return (self.event.id_columns or key) if self.event else ()

    def removal(self, action: object, key: tuple[str, ...]) -> IterableDestination | IterableRemoval:
        """Return where rows that have left the source go; raise ConfigurationError for an action that is not ours."""
        del key
        if isinstance(action, DeleteUser | RemoveFromList):
            return IterableRemoval(self.email, self.user_id, self.conn_id, action)
        if not isinstance(action, UserUpdate):
            raise cannot_remove(self, action, "UserUpdate(...), RemoveFromList(...) or DeleteUser()")
        check_constants("UserUpdate of Mirror.removal", action.fields)
        return replace(self, user=action, event=None)

    def check_kinds(self, kinds: Mapping[str, str]) -> None:
        """Raise ConfigurationError when a column has a type that no value of it could be sent as."""
        for column in self.identifiers():
            check_kind("an identifier", column, kinds[column], IDENTIFIER_KINDS)
        if self.event is not None:
            check_kind("EventTrack.created_at", self.event.created_at, kinds[self.event.created_at], ("datetime",))
        for field in self._fields():
            if isinstance(field, Field):
                check_field(field, kinds[field.column])

    def _fields(self) -> tuple[FieldLike, ...]:
        update = self.user.fields if self.user else ()
        return update + (self.event.fields if self.event else ())
