"""When to stop trying: the platform refuses the account, or fails too often in a row."""

from __future__ import annotations

from collections.abc import Sequence

from reverse_etl.delivery.destination import Verdict
from reverse_etl.errors import AccountRefused, CallFailed, DestinationError, DestinationUnavailable

FAILED_IN_A_ROW = 50
"""Failed requests without a success between them after which the destination counts as unavailable."""

FAILED_BEFORE_FIRST_ANSWER = 3
"""The same, as long as the destination has not answered at all: requests then go out one by one."""


class Breaker:
    """Watches the verdicts; `stopped` is the error that ends the batch, once there is one."""

    def __init__(self) -> None:
        self.has_answered = False
        self.stopped: DestinationError | None = None
        self._failed_in_a_row = 0

    def note(self, verdicts: Sequence[Verdict]) -> None:
        """Take in the verdicts of one request; one about a single call is an answer of the platform."""
        refused = next((verdict for verdict in verdicts if isinstance(verdict, AccountRefused)), None)
        if refused is not None:
            self.stopped = self.stopped or refused
            return
        failed = [verdict for verdict in verdicts if isinstance(verdict, CallFailed)]
        if len(failed) < len(verdicts):
            self.has_answered = True
            self._failed_in_a_row = 0
            return
        self._failed_in_a_row += 1
        limit = FAILED_IN_A_ROW if self.has_answered else FAILED_BEFORE_FIRST_ANSWER
        if self._failed_in_a_row >= limit and self.stopped is None:
            last = failed[-1]
            self.stopped = DestinationUnavailable(
                f"{self._failed_in_a_row} requests in a row failed, the last one with: {last.message}",
                status=last.status,
                code=last.code,
                request_id=last.request_id,
            )
