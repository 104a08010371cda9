"""Retrying one call: what is worth another try, how long to wait, when to give up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import tenacity

from reverse_etl.errors import CallFailed, ConfigurationError, DestinationError, Throttled

Answer = TypeVar("Answer")
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Tries and waits of one call.

    A transient failure is tried `tries` times, with waits in seconds of `first_wait`, times `factor` each time, give or
    take `jitter` (0.1: 10 %). The platform's own hint comes first, unless it is 0: a 429 that repeats itself would be
    answered for ever, as fast as the rate allows. Being throttled uses up no try, but the call gives up once its waits
    would exceed `patience` seconds.
    """

    tries: int = 3
    first_wait: float = 1.0
    factor: float = 2.0
    jitter: float = 0.1
    patience: float = 120.0
    sleep: Sleep = field(default=asyncio.sleep, repr=False)
    uniform: Callable[[float, float], float] = field(default=random.uniform, repr=False)

    def __post_init__(self) -> None:
        if self.tries < 1 or self.first_wait < 0 or self.factor < 1 or not 0 <= self.jitter < 1:
            raise ConfigurationError(
                f"{self}: expected tries >= 1, first_wait >= 0 seconds, factor >= 1, jitter from 0 to below 1"
            )

    async def run(self, attempt: Callable[[], Awaitable[Answer]]) -> tuple[Answer, int]:
        """Await `attempt` until it succeeds or is not worth another try; return its value and the requests spent.

        Raise its last error, with `tries` set.
        """
        spent = _Spent(self)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_retryable),
            stop=spent.is_used_up,
            wait=spent.next_wait,
            sleep=self.sleep,
            reraise=True,
        )
        return await retrying(spent.counted, attempt), spent.requests


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, CallFailed)


class _Spent:
    """What one call has used of its policy so far."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.requests = 0
        self._failures = 0
        self._throttled = 0
        self._wait = 0.0

    async def counted(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        self.requests += 1
        try:
            return await attempt()
        except DestinationError as error:
            error.tries = self.requests
            if isinstance(error, CallFailed):
                self._note(error)
            raise

    def _note(self, error: CallFailed) -> None:
        if isinstance(error, Throttled):
            self._throttled += 1
        else:
            self._failures += 1
        self._wait = self._wait_after(error)

    def _wait_after(self, error: CallFailed) -> float:
        policy = self._policy
        if error.retry_after:
            return error.retry_after * policy.uniform(1.0, 1.0 + policy.jitter)
        earlier = (self._throttled if isinstance(error, Throttled) else self._failures) - 1
        return policy.first_wait * policy.factor**earlier * policy.uniform(1.0 - policy.jitter, 1.0 + policy.jitter)

    def is_used_up(self, state: tenacity.RetryCallState) -> bool:
        too_long = state.idle_for + self._wait > self._policy.patience
        return self._failures >= self._policy.tries or too_long

    def next_wait(self, state: tenacity.RetryCallState) -> float:
        del state
        return self._wait
