"""The events that Customer.io gives a meaning of its own, one module per family, every event a frozen dataclass."""

from __future__ import annotations

from types import ModuleType

from reverse_etl.customerio.semantic import ecommerce, messaging, mobile, people, video
from reverse_etl.customerio.semantic.record import Event

__all__ = ["FAMILIES", "ecommerce", "events", "messaging", "mobile", "people", "video"]

FAMILIES: tuple[ModuleType, ...] = (people, ecommerce, video, mobile, messaging)


def events(family: ModuleType) -> tuple[type[Event], ...]:
    """Return the event classes of a family, in the order of its module."""
    return tuple(
        value
        for value in vars(family).values()
        if isinstance(value, type) and issubclass(value, Event) and hasattr(value, "event")
    )
