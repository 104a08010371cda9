"""The journal of a batch: what another try of the task need not send again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reverse_etl.delivery.journal import Marks
from reverse_etl.delivery.outcomes import CallResult, Outcome
from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.journal import BatchJournal
from reverse_etl.ledger.ledger import Ledger
from tests.ledger.samples import FINGERPRINT, UPDATE, key, ref

OTHER_FINGERPRINT = b"fedcba9876543210"


def mark(name: str, outcome: Outcome, **changes: Any) -> Marks:
    result = CallResult(UPDATE, outcome, "some_code", 200, 2, "request-1")
    return Marks(replace(result, **changes), [(0, key(name), FINGERPRINT.hex())])


@pytest.mark.parametrize(
    ("outcome", "is_settled"),
    [
        (Outcome.DELIVERED, True),
        (Outcome.SUPPRESSED, True),
        (Outcome.REJECTED, False),
        (Outcome.FAILED, False),
    ],
)
async def test_another_try_does_not_send_again_what_is_final(
    ledger: Ledger, outcome: Outcome, is_settled: bool
) -> None:
    attempt = ledger.begin(ref())
    await BatchJournal(attempt, 0).mark([mark("anna", outcome)])
    again = BatchJournal(attempt, 0)
    expected = mark("anna", outcome).result if is_settled else None
    assert again.has_settled == is_settled
    assert again.settled(key("anna"), UPDATE, FINGERPRINT) == expected
    assert again.settled(key("anna"), UPDATE, OTHER_FINGERPRINT) is None
    assert again.settled(key("bert"), UPDATE, FINGERPRINT) is None
    assert again.resumed == is_settled
    for other in (BatchJournal(attempt, 1), BatchJournal(ledger.begin(ref(attempt=1)), 0)):
        assert not other.has_settled


async def test_after_a_mark_that_failed_no_other_is_taken(sqlite_ledger: Ledger) -> None:
    attempt = sqlite_ledger.begin(ref())
    journal = BatchJournal(attempt, 0)
    with pytest.raises(ConfigurationError):
        await journal.mark([mark("anna", Outcome.DELIVERED, call="\n")])
    with pytest.raises(ConfigurationError):
        await journal.mark([mark("bert", Outcome.DELIVERED)])
    assert attempt.outcomes(0) == []


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.SUPPRESSED, Outcome.REJECTED, Outcome.FAILED])
async def test_who_only_asks_is_told_every_result_there_is(ledger: Ledger, outcome: Outcome) -> None:
    attempt = ledger.begin(ref())
    await BatchJournal(attempt, 0).mark([mark("anna", outcome)])
    asking = BatchJournal(attempt, 0, sends=False)
    assert asking.settled(key("anna"), UPDATE, FINGERPRINT) == mark("anna", outcome).result
    assert asking.settled(key("anna"), UPDATE, OTHER_FINGERPRINT) is None
