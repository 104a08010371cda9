from __future__ import annotations

import pytest

from reverse_etl.delivery.privacy import PrivacyResult
from reverse_etl.errors import AuthenticationRefused, ConnectionFailed, DestinationError, Throttled, WrongDestination
from reverse_etl.operators.forget import Forgotten

REFUSED = AuthenticationRefused("the key was refused")
ELSEWHERE = WrongDestination("there is no such host")
LATER = Throttled("the daily limit is used up")
SILENT = ConnectionFailed("no answer")


@pytest.mark.parametrize(
    ("stops", "first"),
    [
        ((), None),
        ((None, None), None),
        ((REFUSED, None), REFUSED),
        ((REFUSED, ELSEWHERE), REFUSED),
        ((REFUSED, LATER), LATER),
        ((LATER, REFUSED), LATER),
        ((None, LATER, SILENT), LATER),
    ],
)
def test_an_account_that_refuses_does_not_keep_others_from_being_asked_again(
    stops: tuple[DestinationError | None, ...], first: DestinationError | None
) -> None:
    results = {f"conn_{number}": PrivacyResult(stopped=stop) for number, stop in enumerate(stops)}
    assert Forgotten(results, purged=None).stopped is first
