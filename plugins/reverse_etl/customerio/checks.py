"""What can be said of a mapping before a row is sent: Customer.io tells nobody which attributes a workspace has.

Source of the sizes: the page "Invalid API requests" of Customer.io's documentation, which is about its Track API. The
Pipelines API answers 200 beyond them, and the workspace may drop what it was told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reverse_etl.checking import Finding, error, ok, warning
from reverse_etl.customerio.config import CustomerIODestination
from reverse_etl.customerio.reserved import TRAITS_OF_PERSON, wanted_for
from reverse_etl.mapping import Constant, FieldLike, Kind

LONGEST_ATTRIBUTE_BYTES = 150
LONGEST_EVENT_BYTES = 100
MOST_ATTRIBUTES = 300

UNSUBSCRIBED = "unsubscribed"
RESERVED = (*TRAITS_OF_PERSON, UNSUBSCRIBED)
"""Traits with a meaning of their own."""


def check_mapping(mapping: CustomerIODestination, kinds: Mapping[str, str]) -> list[Finding]:
    """Return what is found about names, sizes and reserved traits; `kinds` are those of the columns."""
    found = [
        *(_traits(mapping.identify.fields, kinds) if mapping.identify else ()),
        *(_sizes("property", mapping.track.fields) if mapping.track else ()),
    ]
    if mapping.track and len(mapping.track.event.encode()) > LONGEST_EVENT_BYTES:
        found.append(
            warning("event", f"its name has more than {LONGEST_EVENT_BYTES} bytes; the workspace may not take it")
        )
    return found or [ok("fields", "names, sizes and reserved traits are fine")]


def _traits(fields: tuple[FieldLike, ...], kinds: Mapping[str, str]) -> Iterator[Finding]:
    yield from _sizes("trait", fields)
    for field in fields:
        fitting = _fitting(field.name)
        if fitting and _kind_of(field, kinds) not in fitting:
            yield error(
                f"trait {field.name}",
                f"Customer.io gives it a meaning and reads {' or '.join(fitting)}, the mapping sends "
                f"{_kind_of(field, kinds)}; choose another kind or another name",
            )


def _fitting(trait: str) -> tuple[str, ...]:
    """Return what a trait with a meaning of its own may be filled with; nothing for any other."""
    if trait == UNSUBSCRIBED:
        return ("boolean", "integer", "text")
    wanted = wanted_for(trait, TRAITS_OF_PERSON)
    match wanted:
        case None:
            return ()
        case Mapping():
            return ("json",)
        case _ if wanted is bool:
            return ("boolean",)
        case _:
            return ("text", "datetime", "date")


def _sizes(what: str, fields: tuple[FieldLike, ...]) -> Iterator[Finding]:
    for field in fields:
        if len(field.name.encode()) > LONGEST_ATTRIBUTE_BYTES:
            yield warning(
                f"{what} {field.name[:20]}...",
                f"its name has more than {LONGEST_ATTRIBUTE_BYTES} bytes; the workspace may drop it",
            )
    if len(fields) > MOST_ATTRIBUTES:
        yield warning(what, f"{len(fields)} of them, the workspace may drop those beyond {MOST_ATTRIBUTES}")


def _kind_of(field: FieldLike, kinds: Mapping[str, str]) -> str:
    if isinstance(field, Constant):
        return {bool: "boolean", int: "integer", float: "number", str: "text"}[type(field.value)]
    return kinds[field.column] if field.kind is Kind.AUTO else str(field.kind)
