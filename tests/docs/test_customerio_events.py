"""The table of semantic events is what the classes say."""

from __future__ import annotations

from reverse_etl.customerio.semantic import FAMILIES, events
from reverse_etl.customerio.semantic.record import Place, places
from tests.docs.pages import table


def shown(place: Place) -> str:
    name = f"**`{place.name}`**" if place.required else f"`{place.name}`"
    where = ".".join(place.path)
    return name if where == f"properties.{place.name}" else f"{name} (`{where}`)"


def test_every_event_is_in_the_table_as_its_class_has_it() -> None:
    assert table("docs/customerio-events.md", "event") == [
        [
            f"`{kind.event}`",
            f"`{family.__name__.rsplit('.', 1)[1]}.{kind.__name__}`",
            ", ".join(map(shown, places(kind))) or "none",
            "`userId`" if kind.needs_user_id else "any id",
        ]
        for family in FAMILIES
        for kind in events(family)
    ]
