"""The protocol a destination implements for the delivery engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from reverse_etl.delivery.outcomes import Receipt


@dataclass(frozen=True, slots=True)
class Call:
    """One rendered API operation: its `kind` (such as `user_update`), the encoded JSON body and whom it is about.

    `identity` maps the platform's name of an identifier to its value, such as `{"email": ...}`.
    """

    kind: str
    body: bytes
    identity: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RenderedRow:
    """The calls of one row, in the order they must be made, for one `person`.

    Two rows with the same `person` are never in flight together.
    """

    person: str
    calls: tuple[Call, ...]


class Destination(Protocol):
    """Renders rows and sends calls."""

    def render(self, row: Mapping[str, object]) -> RenderedRow:
        """Return the calls of a row, at least one; raise InvalidRow when the row must not be sent."""

    async def send(self, call: Call) -> Receipt:
        """Send one call, retries included.

        Raise CallRejected, UserSuppressed or CallFailed for this call, AccountRefused when no call can succeed.
        """
