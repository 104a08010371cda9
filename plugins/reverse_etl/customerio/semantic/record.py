"""Semantic events as frozen dataclasses whose fields are the table: name, type, check, and place in the message."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Annotated, ClassVar, cast, dataclass_transform, get_args, get_type_hints

from reverse_etl.customerio.semantic.checks import Check, json_object
from reverse_etl.errors import InvalidRow


@dataclasses.dataclass(frozen=True)
class Place:
    """A field of a record: where its value goes, its check, and whether it must be given."""

    name: str
    path: tuple[str, ...]
    check: Check
    required: bool


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(dataclasses.field,))
class _Frozen:
    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)


class Record(_Frozen):
    """Values with a place each; `extra` holds custom properties beside them. None leaves a field out.

    An annotation is `Annotated[type, check]`, with a path after it where the value does not go to `properties` under
    the field's own name. Raises InvalidRow that names the field, never its value.
    """

    extra: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.message()

    def message(self) -> dict[str, object]:
        """Return the parts of the message that the values fill, such as `properties` and `context`."""
        parts: dict[str, object] = {"properties": self._extra()}
        for place in places(type(self)):
            value = getattr(self, place.name)
            if value is None and not place.required:
                continue
            inner = parts
            for step in place.path[:-1]:
                inner = cast("dict[str, object]", inner.setdefault(step, {}))
            try:
                inner[place.path[-1]] = place.check(value)
            except InvalidRow as problem:
                raise InvalidRow(problem.code, f"{self._label(place.name)}: {problem.detail}") from None
        return parts

    def properties(self) -> dict[str, object]:
        """Return what goes to `properties`, in its JSON form."""
        return cast("dict[str, object]", self.message()["properties"])

    def _extra(self) -> dict[str, object]:
        try:
            extra = json_object(self.extra)
        except InvalidRow as problem:
            raise InvalidRow(problem.code, f"{self._label('extra')}: {problem.detail}") from None
        for place in places(type(self)):
            if place.path[0] == "properties" and place.path[1] in extra:
                raise InvalidRow(
                    "named_twice", f"{self._label('extra')}: {place.path[1]!r} is a field, give it as {place.name}="
                )
        return extra

    def _label(self, name: str) -> str:
        return f"{type(self).__name__}.{name}"


class Event(Record):
    """An event that Customer.io gives a meaning of its own; names are sensitive to case and blanks."""

    event: ClassVar[str]
    needs_user_id: ClassVar[bool] = False
    """Whether the schema wants `userId`: an anonymous id is not enough."""

    def context(self) -> dict[str, object]:
        """Return what goes to `context`, in its JSON form."""
        return cast("dict[str, object]", self.message().get("context", {}))


def places(record: type[Record]) -> tuple[Place, ...]:
    """Return the fields of a record, `extra` left out, in their order."""
    return _places(cast("Hashable", record))


@cache
def _places(kind: Hashable) -> tuple[Place, ...]:
    record = cast("type[Record]", kind)
    hints = get_type_hints(record, include_extras=True)
    return tuple(_place(field, hints[field.name]) for field in dataclasses.fields(record) if field.name != "extra")


def _place(field: dataclasses.Field[object], hint: Annotated[object, ...]) -> Place:
    _, check, *path = get_args(hint)
    where = path[0] if path else f"properties.{field.name}"
    return Place(field.name, tuple(where.split(".")), check, field.default is dataclasses.MISSING)
