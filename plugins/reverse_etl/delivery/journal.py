"""What the engine asks before it sends a call, and tells before it counts one: the ledger, seen from the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from reverse_etl.delivery.outcomes import CallResult, Outcome

WHOLE_ROW = ""
"""The call of a row that was refused before it became calls."""


def unchanged(call: str) -> CallResult:
    """Return the result of a call that equals the one last delivered."""
    return CallResult(call, Outcome.UNCHANGED, "unchanged")


MarkedRow = tuple[int, str, str | None]
"""The place of a row in its batch, from 0, its hashed key, and 32 hexadecimal characters that stand for the rendered
call: None where the row was refused before it became calls."""


class Marks(NamedTuple):
    """What became of calls of different rows that ended the same."""

    result: CallResult
    rows: list[MarkedRow]


class Journal(Protocol):
    """Remembers what became of calls. An error it raises ends the delivery: nothing is sent that is not recorded."""

    @property
    def has_settled(self) -> bool:
        """Whether any call needs no further try; asking about each one costs time."""

    @property
    def compares(self) -> bool:
        """Whether a call that equals the one last delivered is not sent; `look_up` comes before `settled` then."""

    async def look_up(self, keys: Sequence[str]) -> None:
        """Look up what was last delivered for rows by their hashed keys; what was looked up before is forgotten."""

    def settled(self, key: str, call: str, fingerprint: bytes) -> CallResult | None:
        """Return the result of a call that needs no further try in this attempt of the run, None for any other.

        It is `unchanged` for a call that equals the one last delivered.
        """

    async def mark(self, marks: Sequence[Marks]) -> None:
        """Record results, in their order; they are safe when this returns."""


class NoJournal:
    """Remembers nothing: for dry runs and for measuring."""

    has_settled = False
    compares = False

    async def look_up(self, keys: Sequence[str]) -> None:
        """Look nothing up."""

    def settled(self, key: str, call: str, fingerprint: bytes) -> CallResult | None:
        """Return None: no call is known."""
        del key, call, fingerprint
        return None

    async def mark(self, marks: Sequence[Marks]) -> None:
        """Forget them."""
