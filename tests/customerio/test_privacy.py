"""Privacy actions of a workspace, whose people are asked about by user id, recorded in a real ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.customerio.privacy import CustomerIOPrivacy
from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.delivery.privacy import PEOPLE_PER_CHUNK, Action, PersonId, PrivacyResult, PrivacyRun
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.privacy import PrivacyJob
from reverse_etl.redaction import KeyHasher
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, SandboxServer

HASH = KeyHasher("a secret for the tests of privacy")
ADA = "ada@example.com"


async def suppress(sandbox: SandboxServer, folder: Path, *people: PersonId) -> PrivacyResult:
    connection = CustomerIOConnection(CUSTOMERIO_KEY, host=sandbox.url)
    with Ledger.open(f"sqlite:///{folder}/ledger.db") as ledger:
        async with CustomerIOClient(connection) as client:
            journal = ledger.privacy_job(PrivacyJob("job", "suppress", "customerio", connection.account, "dpo"))
            destination = CustomerIOPrivacy(client, connection.account)
            run = PrivacyRun(Action.SUPPRESS, destination, journal, lambda one: HASH((one.email or one.user_id,)))
            result = await run.run(people)
    assert result.adds_up()
    return result


def suppressed(sandbox: SandboxServer) -> set[str]:
    return {found["identifier"] for found in sandbox.customerio.records("suppressed")}


@pytest.mark.parametrize("between", [0, PEOPLE_PER_CHUNK], ids=["asked together", "asked one after the other"])
async def test_two_users_who_share_an_email_are_both_suppressed(
    sandbox: SandboxServer, tmp_path: Path, between: int
) -> None:
    others = [PersonId(user_id=f"other {number}") for number in range(between)]
    people = [PersonId(ADA, "7"), *others, PersonId(ADA, "8"), PersonId(ADA)]
    result = await suppress(sandbox, tmp_path, *people)
    assert suppressed(sandbox) == {"7", "8", ADA, *(other.user_id for other in others)}
    assert result.outcomes == {Outcome.DELIVERED: len(people)}
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert [len(ledger.audit(HASH((identifier,)))) for identifier in ("7", "8", ADA)] == [1, 1, 1]


async def test_one_user_with_two_emails_is_asked_about_once_and_both_are_gone(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    result = await suppress(sandbox, tmp_path, PersonId(ADA, "7"), PersonId("ada@example.org", "7"))
    assert result.outcomes == {Outcome.DELIVERED: 1, Outcome.UNCHANGED: 1}
    assert result.gone == {0, 1}
    assert sandbox.customerio.stats()["acted"] == {"User Suppressed": 1}


async def test_who_is_named_again_after_a_refusal_is_not_gone_either(sandbox: SandboxServer, tmp_path: Path) -> None:
    sandbox.faults([{"path": "/v1/track", "kind": "status", "status": 400, "match_user_id": "7"}])
    result = await suppress(sandbox, tmp_path, PersonId(user_id="7"), PersonId(ADA, "7"))
    assert (result.gone, result.outcomes) == (set(), {Outcome.REJECTED: 1, Outcome.UNCHANGED: 1})


@pytest.mark.parametrize(
    "email", ["5", "not-an-email", "@example.com", "ada@localhost", "ada@example.com,bob@example.com"]
)
async def test_an_email_that_is_none_is_not_taken_for_a_user_id(
    sandbox: SandboxServer, tmp_path: Path, email: str
) -> None:
    sandbox.customerio.post("identify", {"userId": email, "traits": {}})
    result = await suppress(sandbox, tmp_path, PersonId(email))
    assert result.reasons == {(Outcome.INVALID, "email_malformed"): 1}
    assert suppressed(sandbox) == set()
