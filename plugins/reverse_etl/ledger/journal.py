"""The journal of one batch in the ledger: what earlier tries settled, and results as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from reverse_etl.delivery.journal import Marks, unchanged
from reverse_etl.delivery.outcomes import CallResult, Outcome
from reverse_etl.delivery.plan import Known
from reverse_etl.ledger.attempts import Attempt
from reverse_etl.ledger.comparing import Comparison
from reverse_etl.ledger.records import Marked

FINAL = (Outcome.DELIVERED, Outcome.SUPPRESSED)
"""What another try of the same task does not send again."""


class Compared:
    """What was last delivered for the rows looked up; a journal by itself for a run that sends nothing."""

    has_settled = compares = True

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._states: Mapping[tuple[str, str], Known] = {}
        self._unchanged: dict[str, CallResult] = {}

    async def look_up(self, keys: Sequence[str]) -> None:
        """Look up these keys instead of the ones before; raises LedgerUnavailable."""
        self._states = await asyncio.to_thread(self._comparison.states, keys)

    def state(self, key: str, call: str) -> Known | None:
        """Return what is known of a call, None for one never delivered."""
        return self._states.get((key, call))

    def settled(self, key: str, call: str, fingerprint: bytes) -> CallResult | None:
        """Return that a call is unchanged, None for any other."""
        known = self._states.get((key, call))
        if known is None or not known.is_proof or known.fingerprint != fingerprint.hex():
            return None
        return self._unchanged.get(call) or self._unchanged.setdefault(call, unchanged(call))

    async def mark(self, marks: Sequence[Marks]) -> None:
        """Nothing is sent, so there is nothing to mark."""


class BatchJournal:
    """Reads once what earlier tries of this attempt recorded of a batch, then records results.

    Results that come while others are being written wait and are written together: a transaction per request would be
    the limit of a delivery call by call.
    """

    def __init__(self, attempt: Attempt, batch: int, *, compares: bool = False, sends: bool = True) -> None:
        """Open the batch where it `sends`; otherwise only ask about it: then every call recorded has its result.

        `compares` finds calls that are unchanged.
        """
        self._attempt = attempt
        self._batch = batch
        self._sends = sends
        if sends:
            attempt.open(batch)
        self._compared = Compared(attempt.comparison()) if compares else None
        self._settled = {
            (marked.key, marked.call, marked.fingerprint): _result(marked)
            for marked in attempt.outcomes(batch)
            if marked.outcome in FINAL or not sends
        }
        self._held: list[Marks] = []
        self._turn = asyncio.Lock()
        self._problem: Exception | None = None
        self.resumed = 0

    @property
    def has_settled(self) -> bool:
        """Whether an earlier try had any final result, or calls are compared."""
        return bool(self._settled) or self.compares

    @property
    def compares(self) -> bool:
        """Whether calls are compared with those last delivered."""
        return self._compared is not None

    async def look_up(self, keys: Sequence[str]) -> None:
        """Look up what was last delivered for these keys; raises LedgerUnavailable."""
        if self._compared is not None:
            await self._compared.look_up(keys)

    def settled(self, key: str, call: str, fingerprint: bytes) -> CallResult | None:
        """Return the result an earlier try had of the very same call, if nothing is to be sent for it now."""
        result = self._settled.get((key, call, fingerprint))
        if result is not None:
            self.resumed += 1
            return result
        return None if self._compared is None else self._compared.settled(key, call, fingerprint)

    async def mark(self, marks: Sequence[Marks]) -> None:
        """Record results; raises LedgerUnavailable or ConfigurationError when they cannot be."""
        self._held += marks
        async with self._turn:
            if self._problem is not None:
                raise self._problem
            held, self._held = self._held, []
            try:
                await asyncio.to_thread(self._attempt.mark_alike, self._batch, held)
            except Exception as problem:
                self._problem = problem
                raise

    def close(self) -> None:
        """Bring the states of rows up to date where they are compared, else leave that until they are needed.

        Who only asks does so for a batch that nobody has closed: of the rows of others more is known.
        """
        if self._sends:
            self._attempt.close(self._batch, settle=self.compares)
        elif self._attempt.is_open(self._batch):
            self._attempt.settle(self._batch)

    def resent(self) -> int:
        """Return how many calls an earlier attempt had delivered that this one has delivered again."""
        return self._attempt.resent(self._batch)


def _result(marked: Marked) -> CallResult:
    return CallResult(marked.call, marked.outcome, marked.code, marked.status, marked.tries, marked.request_id)
