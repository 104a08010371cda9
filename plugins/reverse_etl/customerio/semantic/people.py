"""People, their devices, objects and relationships.

Source: vendor OpenAPI of 2025 and 2026, components `delete_person` to `group_deleted`. Suppressing deletes a person and
blocks the identifier; that is not the trait `unsubscribed`, which only stops messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from reverse_etl.customerio.semantic.checks import Identifier, ObjectType, Text, json_object, object_type, one_of
from reverse_etl.customerio.semantic.record import Event, Record

DEVICE_TYPES = ("ios", "android", "web")
"""The schema knows ios and android; the vendor's newest browser library sends web."""

DeviceType = Annotated[Literal["ios", "android", "web"] | None, one_of(*DEVICE_TYPES), "context.device.type"]


class _Person(Event):
    needs_user_id = True


class UserDeleted(_Person):
    event = "User Deleted"


class UserSuppressed(_Person):
    event = "User Suppressed"


class UserUnsuppressed(_Person):
    event = "User Unsuppressed"


class _Device(_Person):
    token: Annotated[Identifier, "context.device.token"]
    type: DeviceType = None


class DeviceCreatedOrUpdated(_Device):
    event = "Device Created or Updated"
    app_namespace: Annotated[Text, "context.app.namespace"] = None


class DeviceDeleted(_Device):
    event = "Device Deleted"


class _Object(Event):
    object_id: Annotated[Identifier, "properties.objectId"]
    object_type_id: Annotated[ObjectType, "properties.objectTypeId"] = 1


class ObjectDeleted(_Object):
    event = "Object Deleted"


class RelationshipDeleted(_Object):
    event = "Relationship Deleted"
    needs_user_id = True


def _type_text(value: object) -> str:
    return str(object_type(value))


class CustomerObject(Record):
    """An object and, when a person is named beside it, the relationship: what `group` sends.

    `extra` are the object's attributes. The object's type travels as text, although deletions send a number.
    """

    group_id: Annotated[Identifier, "groupId"]
    object_type_id: Annotated[int | str, _type_text, "properties.objectTypeId"] = 1
    relationship_attributes: Annotated[
        Mapping[str, object] | None, json_object, "properties.relationshipAttributes"
    ] = None

    def traits(self) -> dict[str, object]:
        """Return what goes to `traits`."""
        return self.properties()
