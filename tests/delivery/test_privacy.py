"""Privacy actions against a real sandbox, recorded in a real ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.delivery.privacy import Action, DailyLimit, PersonId, PrivacyResult, PrivacyRun
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.errors import AuthenticationRefused, ConfigurationError, DestinationUnavailable
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.iterable.limits import LIMITS, Endpoint, Limit
from reverse_etl.iterable.privacy import IterablePrivacy
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.privacy import PrivacyJob
from reverse_etl.redaction import KeyHasher
from reverse_etl.sandbox.testing import READONLY_KEY, SERVER_KEY, SandboxServer

HASH = KeyHasher("a secret for the tests of privacy")
FAST = {**LIMITS, Endpoint.USER_FORGET: Limit(1000), Endpoint.USER_UNFORGET: Limit(1000)}


def hash_person(person: PersonId) -> str:
    return HASH((person.email or person.user_id,))


async def no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


class OneADay(IterablePrivacy):
    """A project whose daily limit is one request."""

    def daily_limit(self, action: Action) -> DailyLimit | None:
        limit = super().daily_limit(action)
        return DailyLimit(limit.endpoint, 1) if limit else None


@pytest.fixture(scope="module")
def platform() -> Iterator[SandboxServer]:
    with SandboxServer() as started:
        yield started


@pytest.fixture
def sandbox(platform: SandboxServer) -> SandboxServer:
    platform.reset()
    return platform


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        yield opened


class Forgetting:
    def __init__(self, sandbox: SandboxServer, ledger: Ledger) -> None:
        self.sandbox = sandbox
        self.ledger = ledger

    async def create(self, *emails: str) -> None:
        async with IterableClient(IterableConnection(api_key=SERVER_KEY, host=self.sandbox.url)) as client:
            for email in emails:
                await client.update_user({"email": email, "dataFields": {"plan": "pro"}})

    async def __call__(
        self, *people: PersonId, action: Action = Action.FORGET, kind: Any = IterablePrivacy, key: str = SERVER_KEY,
        clock: Any = lambda: 86_400.0 * 3 + 3_600,
    ) -> PrivacyResult:  # fmt: skip
        connection = IterableConnection(api_key=key, host=self.sandbox.url)
        retry = RetryPolicy(tries=3, sleep=no_wait)
        async with IterableClient(connection, retry=retry, limits=FAST) as client:
            destination = kind(client, connection.account)
            journal = self.ledger.privacy_job(
                PrivacyJob("job", action.value, "iterable_default", connection.account, "ada")
            )
            result = await PrivacyRun(action, destination, journal, hash_person, clock=clock).run(people)
        assert result.adds_up()
        assert result.read == len(people)
        return result


@pytest.fixture
def forgetting(sandbox: SandboxServer, ledger: Ledger) -> Forgetting:
    return Forgetting(sandbox, ledger)


def reasons(result: PrivacyResult) -> dict[str, int]:
    return {code: count for (_, code), count in result.reasons.items()}


async def test_an_action_the_destination_lacks_is_refused_before_anything_is_sent(forgetting: Forgetting) -> None:
    with pytest.raises(ConfigurationError, match="cannot suppress a person; it knows forget, unsuppress"):
        await forgetting(PersonId("ada@example.com"), action=Action.SUPPRESS)


async def test_nobody_is_nobody(forgetting: Forgetting) -> None:
    result = await forgetting()
    assert (result.read, result.stopped, result.gone) == (0, None, set())


async def test_people_are_forgotten_once_each_and_recorded_by_hash(forgetting: Forgetting) -> None:
    await forgetting.create("ada@example.com", "zo\u00eb@example.com")
    ada = PersonId(" ada@example.com ")
    people = [ada, PersonId("zo\u00eb@example.com"), ada, PersonId(" ", ""), PersonId("nobody@example.com")]
    result = await forgetting(*people)
    assert reasons(result) == {"named_twice": 1, "no_identifier": 1, "user_not_found": 1}
    assert result.gone == {0, 1, 2, 4}
    assert forgetting.sandbox.users() == []
    [record] = forgetting.ledger.audit(hash_person(ada))
    assert (record.result.outcome.value, record.result.status, record.result.tries) == ("delivered", 200, 1)


async def test_a_second_try_of_a_job_sends_only_what_is_not_confirmed(forgetting: Forgetting) -> None:
    await forgetting.create("ada@example.com", "bert@example.com")
    await forgetting(PersonId("ada@example.com"))
    result = await forgetting(PersonId("ada@example.com"), PersonId("bert@example.com"))
    assert reasons(result) == {"already_confirmed": 1}
    assert result.gone == {0, 1}
    assert forgetting.ledger.audit(HASH(("ada@example.com",)))[0].result.tries == 1


async def test_the_daily_limit_stops_the_job_until_midnight(forgetting: Forgetting) -> None:
    await forgetting.create("ada@example.com", "bert@example.com")
    people = [PersonId("ada@example.com"), PersonId("bert@example.com")]
    result = await forgetting(*people, kind=OneADay)
    assert reasons(result) == {"daily_limit": 1}
    assert isinstance(result.stopped, DestinationUnavailable)
    assert (result.stopped.code, result.stopped.retry_after) == ("daily_limit", 23 * 3_600)
    assert [user["email"] for user in forgetting.sandbox.users()] == ["bert@example.com"]
    result = await forgetting(*people)
    assert reasons(result) == {"already_confirmed": 1}
    assert forgetting.sandbox.users() == []


async def test_a_passing_problem_is_tried_again(forgetting: Forgetting) -> None:
    await forgetting.create("ada@example.com")
    forgetting.sandbox.faults([{"path": "/api/users/forget", "kind": "status", "status": 503, "times": 2}])
    await forgetting(PersonId("ada@example.com"))
    assert forgetting.ledger.audit(HASH(("ada@example.com",)))[0].result.tries == 3


async def test_further_tries_count_towards_the_daily_limit(forgetting: Forgetting) -> None:
    class FourADay(IterablePrivacy):
        def daily_limit(self, action: Action) -> DailyLimit | None:
            limit = super().daily_limit(action)
            return DailyLimit(limit.endpoint, 4) if limit else None

    await forgetting.create("ada@example.com", "bert@example.com", "cleo@example.com")
    forgetting.sandbox.faults([{"path": "/api/users/forget", "kind": "status", "status": 503, "times": 2}])
    await forgetting(PersonId("ada@example.com"), kind=FourADay)
    result = await forgetting(PersonId("bert@example.com"), PersonId("cleo@example.com"), kind=FourADay)
    assert result.outcomes == {Outcome.DELIVERED: 1, Outcome.FAILED: 1}


@pytest.mark.parametrize(
    ("person", "code"),
    [
        (PersonId("ada-at-example.com"), "email_malformed"),
        (PersonId("ada-at-example.com", "7"), "email_malformed"),
        (PersonId(user_id="7" * 53), "user_id_malformed"),
    ],
)
async def test_a_malformed_identifier_is_not_sent(forgetting: Forgetting, person: PersonId, code: str) -> None:
    result = await forgetting(person)
    assert result.reasons == {(Outcome.INVALID, code): 1}
    assert result.gone == set()
    assert forgetting.sandbox.stats()["requests_total"] == 0


async def test_a_refused_key_ends_the_job_and_nobody_is_gone(forgetting: Forgetting) -> None:
    result = await forgetting(*(PersonId(f"p{number}@example.com") for number in range(250)), key=READONLY_KEY)
    assert isinstance(result.stopped, AuthenticationRefused)
    assert result.gone == set()
    assert reasons(result)["not_sent"] > 240


async def test_unsuppress_lifts_the_block(forgetting: Forgetting) -> None:
    await forgetting.create("ada@example.com")
    await forgetting(PersonId("ada@example.com"))
    await forgetting(PersonId("ada@example.com"), action=Action.UNSUPPRESS)
    await forgetting.create("ada@example.com")
    assert len(forgetting.sandbox.users()) == 1


def test_a_person_does_not_show_their_identifiers() -> None:
    assert "ada" not in repr(PersonId("ada@example.com", "ada-1"))
