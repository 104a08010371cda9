"""The protocol a destination implements for the delivery engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.errors import DestinationError

Row: TypeAlias = Mapping[str, object]
"""A row of the source by column."""

Verdict: TypeAlias = Receipt | DestinationError
"""What the platform said of one call: a confirmation or a refusal, as a value."""

Tell: TypeAlias = Callable[[Mapping[int, Verdict]], Awaitable[None]]
"""Takes verdicts by the place of their call in its pack; they are recorded when it returns."""


class Call(NamedTuple):
    """One rendered API operation: its `kind` (such as `user_update`), the encoded JSON body and whom it is about.

    `identity` maps the platform's name of an identifier to its value, such as `{"email": ...}`; `name` is that of the
    event, where the operation has one.
    """

    kind: str
    body: bytes
    identity: Mapping[str, str]
    name: str = ""


class RenderedRow(NamedTuple):
    """The calls of one row, in the order they must be made, and all identifiers of the person they are about.

    Two rows that share one of `identifiers` are never in flight together.
    """

    identifiers: tuple[str, ...]
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class PackLimit:
    """How many calls one request may carry, and how many bytes their bodies may have together.

    Kinds of call that name the same `lane` share requests; without one a kind has requests of its own.
    """

    calls: int
    body_bytes: int
    lane: str = ""


class Pace(NamedTuple):
    """The endpoint requests go to and how many per second it is given."""

    endpoint: str
    per_second: float


class Destination(Protocol):
    """Renders rows, says how calls are packed, and sends packs."""

    requests_in_flight: int
    """How many packs may be under way at once."""

    def render(self, row: Row) -> RenderedRow:
        """Return the calls of a row, at least one; raise InvalidRow when the row must not be sent."""

    def pack_limit(self, kind: str) -> PackLimit:
        """Return how calls of a kind are packed; one call per request where the limit is 1."""

    def pace(self, kind: str) -> Pace:
        """Return where requests with calls of a kind go, and at which rate."""

    async def send(self, calls: Sequence[Call], tell: Tell) -> Sequence[Verdict]:
        """Send a pack of calls of one lane, retries included, and return the verdict on each, in their order.

        What is known of some calls goes to `tell` before others are sent again or waited for, each call at most once:
        it stands then, whatever becomes of the rest. No two calls of a pack are about the same person. Raise
        AccountRefused when no call can succeed.
        """
