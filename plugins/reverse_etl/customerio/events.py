"""What the client needs to know of an event that Customer.io gives a meaning of its own."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class SemanticEvent(Protocol):
    """An event with a fixed name; it knows where its values belong in the message.

    `properties` and `context` give new dicts, either may be empty; a device's token, for instance, goes to
    `context["device"]["token"]`.
    """

    @property
    def event(self) -> str:
        """The exact name Customer.io acts on."""

    @property
    def needs_user_id(self) -> bool:
        """Whether a user must be named: an anonymous id is not enough."""

    def properties(self) -> dict[str, object]:
        """Return what goes to `properties`."""

    def context(self) -> dict[str, object]:
        """Return what goes to `context`."""
