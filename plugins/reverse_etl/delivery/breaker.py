"""When to stop trying: the platform refuses the account, or fails too often in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeGuard

from reverse_etl.delivery.destination import Verdict
from reverse_etl.errors import (
    AccountRefused,
    CallFailed,
    DestinationError,
    DestinationUnavailable,
    Throttled,
    UserNotFound,
)

FAILED_IN_A_ROW = 50
"""Failed requests of one lane without a success between them after which the destination counts as unavailable."""

FAILED_BEFORE_FIRST_ANSWER = 3
"""The same, as long as the destination has not answered at all: requests then go out one by one."""


class Breaker:
    """Watches the verdicts; `stopped` is the error that ends the batch, once there is one."""

    def __init__(self, stopped: DestinationError | None = None) -> None:
        self.has_answered = False
        self.stopped = stopped
        self._failed_in_a_row: Counter[str] = Counter()

    def note(self, lane: str, verdicts: Sequence[Verdict]) -> None:
        """Take in the verdicts on one request of a lane; one about a single row is an answer too."""
        different = list({id(verdict): verdict for verdict in verdicts}.values())
        refused = next((verdict for verdict in different if isinstance(verdict, AccountRefused)), None)
        if refused is not None:
            self.stopped = self.stopped or refused
            return
        failed = [verdict for verdict in different if _is_down(verdict)]
        if len(failed) < len(different):
            self.has_answered = True
            self._failed_in_a_row[lane] = 0
            return
        self._failed_in_a_row[lane] += 1
        count, last = self._failed_in_a_row[lane], failed[-1]
        limit = FAILED_IN_A_ROW if self.has_answered else FAILED_BEFORE_FIRST_ANSWER
        if isinstance(last, Throttled):
            self._stop("the platform asks for a longer wait than a task should sit through", last)
        elif count >= limit:
            self._stop(f"{count} requests in a row failed, the last one with: {last.message}", last)

    def _stop(self, message: str, last: DestinationError) -> None:
        self.stopped = self.stopped or DestinationUnavailable(
            message,
            status=last.status,
            code=last.code,
            request_id=last.request_id,
            retry_after=last.retry_after,
        )


def _is_down(verdict: Verdict) -> TypeGuard[CallFailed]:
    return isinstance(verdict, CallFailed) and not isinstance(verdict, UserNotFound)
