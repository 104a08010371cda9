"""What became of a call and of its row, as values, and the sum rule over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from reverse_etl.errors import (
    CallRejected,
    DestinationError,
    UserNotFound,
    UserSuppressed,
)


class Outcome(StrEnum):
    """What became of a call.

    A row has the outcome of its first call that did not arrive. Where all did, it is `delivered` if one was sent now,
    and `unchanged` if none had to be.
    """

    DELIVERED = "delivered"
    UNCHANGED = "unchanged"
    INVALID = "invalid"
    REJECTED = "rejected"
    SUPPRESSED = "suppressed"
    FAILED = "failed"
    PLANNED = "planned"
    """Only in a dry run: the row passed the checks and would have been sent."""


DELIVERED, UNCHANGED, FAILED = Outcome.DELIVERED, Outcome.UNCHANGED, Outcome.FAILED
"""For what is done with every row: in Python 3.11 it takes 20 times as long to get a member from its class."""

ARRIVED = (DELIVERED, UNCHANGED)
"""The platform holds the call: after these the row's next call may follow."""

FAILURES = (Outcome.INVALID, Outcome.REJECTED, Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The platform's confirmation of a call."""

    status: int
    request_id: str | None = None
    tries: int = 1


@dataclass(frozen=True, slots=True)
class CallResult:
    """The outcome of one call; `code` is a reason code, `tries` the requests spent (0: nothing was sent)."""

    call: str
    outcome: Outcome
    code: str
    status: int | None = None
    tries: int = 0
    request_id: str | None = None


class RowResult(NamedTuple):
    """The outcome of one row: its hashed key and the results of its calls, in the order they were made.

    `code` and `outcome` are those of the row; calls after the first one not delivered were never made and are absent.
    """

    key: str
    outcome: Outcome
    code: str
    calls: tuple[CallResult, ...] = ()

    @classmethod
    def of_calls(cls, key: str, calls: Iterable[CallResult]) -> RowResult:
        """Return the result of a row that was sent; at least one call is expected."""
        made = tuple(calls)
        decisive = _decisive(made)
        return cls(key, decisive.outcome, decisive.code, made)

    @property
    def is_partial(self) -> bool:
        """Whether some of the row's calls were delivered and a later one was not."""
        return self.outcome not in ARRIVED and any(call.outcome is DELIVERED for call in self.calls)


def _decisive(calls: Sequence[CallResult]) -> CallResult:
    """Return the call that gives a row its outcome."""
    last = calls[-1]
    for call in calls:
        if call.outcome not in ARRIVED:
            return call
        if call.outcome is DELIVERED:
            last = call
    return last


def result_of(call: str, verdict: Receipt | DestinationError) -> CallResult:
    """Return the result of a call from the platform's confirmation or refusal."""
    match verdict:
        case Receipt():
            return CallResult(call, Outcome.DELIVERED, "delivered", verdict.status, verdict.tries, verdict.request_id)
        case UserSuppressed():
            outcome = Outcome.SUPPRESSED
        case CallRejected() | UserNotFound():
            outcome = Outcome.REJECTED
        case DestinationError():
            outcome = Outcome.FAILED
    return CallResult(call, outcome, verdict.code, verdict.status, verdict.tries, verdict.request_id)


class Totals:
    """Counts of rows by outcome and reason.

    `partial` rows had a call delivered before one that was not; `without_delivery` rows failed with none delivered.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.reasons: Counter[tuple[Outcome, str]] = Counter()
        self.partial = 0
        self.without_delivery = 0

    def add(self, result: RowResult) -> None:
        """Count one row."""
        self.outcomes[result.outcome] += 1
        if result.outcome is DELIVERED:
            return
        self.partial += result.is_partial
        self.without_delivery += result.outcome in FAILURES and not result.is_partial
        if result.outcome is not UNCHANGED:
            self.reasons[(result.outcome, result.code)] += 1

    @property
    def rows(self) -> int:
        """Rows that have an outcome."""
        return self.outcomes.total()

    @property
    def failures(self) -> int:
        """Rows that ended invalid, rejected or failed."""
        return sum(self.outcomes[outcome] for outcome in FAILURES)

    def excess(self, read: int, share: float, *, dry_run: bool) -> list[str]:
        """Return, as one line, that more of the rows `read` failed than the `share` allows; none when they did not."""
        if self.failures <= share * read:
            return []
        were = "would not be" if dry_run else "were not"
        return [f"{self.failures} of {read} rows {were} delivered, more than the share of {share:.1%} the sync allows"]

    def top_reasons(self, most: int = 3) -> str:
        """Return the most frequent reasons as text, such as `rejected InvalidEmailAddressError (12)`."""
        return ", ".join(f"{outcome} {code} ({count})" for (outcome, code), count in self.reasons.most_common(most))

    def __str__(self) -> str:
        return ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items()) or "no rows"

    def as_dict(self) -> dict[str, int]:
        """Return the counts by outcome, `planned` only where there are any."""
        counts = {outcome.value: self.outcomes[outcome] for outcome in Outcome}
        if not counts[Outcome.PLANNED]:
            del counts[Outcome.PLANNED]
        return counts


def add_up(read: int, counts: Mapping[str, int]) -> bool:
    """Return whether the sum rule holds: every row read has exactly one outcome."""
    return read == sum(counts.values())
