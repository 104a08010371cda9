from __future__ import annotations

import pytest

from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.errors import (
    AnswerUnreadable,
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    ConfigurationError,
    ConnectionFailed,
    DestinationError,
    Throttled,
    UserSuppressed,
)

DELIVERED = Receipt(200)


class Script:
    """A platform that answers in the given order, and a clock that only notes the waits."""

    def __init__(self, *answers: Receipt | DestinationError) -> None:
        self.answers = list(answers)
        self.waits: list[float] = []

    async def attempt(self) -> Receipt:
        answer = self.answers.pop(0)
        if isinstance(answer, DestinationError):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def policy(self, **changes: float) -> RetryPolicy:
        return RetryPolicy(sleep=self.sleep, uniform=lambda low, high: (low + high) / 2, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [CallRejected, UserSuppressed, AuthenticationRefused])
async def test_a_refusal_is_never_tried_again(kind: type[DestinationError]) -> None:
    script = Script(kind("no", status=400), DELIVERED)
    with pytest.raises(kind):
        await script.policy().run(script.attempt)
    assert script.waits == []


@pytest.mark.parametrize("kind", [CallFailed, ConnectionFailed, AnswerUnreadable])
async def test_a_transient_failure_is_tried_three_times_with_growing_waits(kind: type[DestinationError]) -> None:
    script = Script(*(kind("no") for _ in range(9)))
    with pytest.raises(kind) as caught:
        await script.policy().run(script.attempt)
    assert script.waits == [1.0, 2.0]
    assert caught.value.tries == 3


async def test_a_later_try_that_works_is_a_delivery() -> None:
    script = Script(CallFailed("no"), CallFailed("no"), Receipt(200, "id-1"))
    assert await script.policy().run(script.attempt) == (Receipt(200, "id-1"), 3)


async def test_a_refusal_after_a_failure_ends_the_tries_and_says_how_many() -> None:
    script = Script(CallFailed("no"), CallRejected("no", status=400))
    with pytest.raises(CallRejected) as caught:
        await script.policy().run(script.attempt)
    assert caught.value.tries == 2


async def test_the_platforms_hint_comes_before_our_own_wait() -> None:
    script = Script(CallFailed("no", retry_after=7), DELIVERED)
    await script.policy(jitter=0).run(script.attempt)
    assert script.waits == [7]


async def test_a_hint_is_only_ever_stretched() -> None:
    script = Script(CallFailed("no", retry_after=10), DELIVERED)
    await script.policy(jitter=0.1).run(script.attempt)
    assert script.waits == [pytest.approx(10.5)]


async def test_jitter_stays_within_ten_per_cent() -> None:
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    script = Script(CallFailed("no"), DELIVERED)
    await RetryPolicy(sleep=script.sleep, uniform=uniform).run(script.attempt)
    assert bounds == [(0.9, 1.1)]
    assert script.waits == [pytest.approx(1.1)]


async def test_being_throttled_uses_up_no_try() -> None:
    throttled = [Throttled("slow", status=429, retry_after=1) for _ in range(20)]
    script = Script(*throttled, CallFailed("no"), CallFailed("no"), DELIVERED)
    assert await script.policy().run(script.attempt) == (DELIVERED, 23)


async def test_patience_with_a_throttling_platform_ends() -> None:
    script = Script(*(Throttled("slow", status=429, retry_after=30) for _ in range(20)))
    with pytest.raises(Throttled):
        await script.policy(jitter=0, patience=100).run(script.attempt)
    assert script.waits == [30, 30, 30]


async def test_patience_ends_as_well_when_the_hint_is_no_wait() -> None:
    script = Script(*(Throttled("at once", status=429, retry_after=0) for _ in range(50)))
    with pytest.raises(Throttled):
        await script.policy(jitter=0, patience=100).run(script.attempt)
    assert script.waits == [1, 2, 4, 8, 16, 32]


async def test_a_hint_longer_than_the_patience_gives_up_at_once() -> None:
    script = Script(Throttled("come back tomorrow", status=429, retry_after=86_400), DELIVERED)
    with pytest.raises(Throttled):
        await script.policy().run(script.attempt)
    assert script.waits == []


@pytest.mark.parametrize("changes", [{"tries": 0}, {"first_wait": -1}, {"factor": 0.5}, {"jitter": 1}])
def test_a_policy_that_makes_no_sense_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="expected tries >= 1"):
        RetryPolicy(**changes)  # type: ignore[arg-type] # a table of options
