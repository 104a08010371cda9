from __future__ import annotations

import asyncio
import math
import time
from collections import deque

import pytest

from reverse_etl.delivery.pacing import Pacer, Paces
from reverse_etl.errors import ConfigurationError


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pacer(clock: Clock, per_second: float) -> Pacer:
    return Pacer(per_second, clock=clock, sleep=clock.sleep)


@pytest.mark.parametrize("rate", [0, -5])
def test_a_rate_that_lets_nothing_through_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="expected more than 0"):
        Pacer(rate)


async def test_requests_are_spaced_evenly(clock: Clock) -> None:
    paced = pacer(clock, 10)
    times = []
    for _ in range(5):
        await paced.take()
        times.append(round(clock.now - 1000, 6))
    assert times == [0, 0.1, 0.2, 0.3, 0.4]


async def test_idle_time_is_not_saved_up_for_a_burst(clock: Clock) -> None:
    paced = pacer(clock, 100)
    clock.now += 60
    for _ in range(101):
        await paced.take()
    assert clock.now - 1060 >= 0.9


@pytest.mark.parametrize("rate", [4.95, 100, 0.5])
async def test_a_held_up_event_loop_lets_no_more_than_the_rate_through_in_a_second(clock: Clock, rate: float) -> None:
    paced = pacer(clock, rate)
    times: list[float] = []
    for number in range(int(rate * 5) + 10):
        if number % 7 == 0:
            clock.now += 0.08  # the loop was busy with something else
        await paced.take()
        times.append(clock.now)
    for start in times:
        window = max(1.0, 1 / rate)
        assert sum(start <= time < start + window - 1e-9 for time in times) <= max(1, math.ceil(rate))


async def test_a_pause_holds_back_every_later_request(clock: Clock) -> None:
    paced = pacer(clock, 10)
    await paced.take()
    await paced.pause(3)
    await paced.take()
    assert clock.now - 1000 == pytest.approx(3)


async def test_no_window_of_a_second_holds_more_than_the_rate_on_a_real_clock() -> None:
    last_looks: deque[float] = deque(maxlen=1)
    times: list[float] = []

    def clock() -> float:
        last_looks.append(time.monotonic())
        return last_looks[0]

    paced = Pacer(200, clock=clock)

    async def request() -> None:
        await paced.take()
        times.append(last_looks[0])

    await asyncio.gather(*(request() for _ in range(250)))
    times.sort()
    assert times[-1] - times[0] >= 1.0
    assert max(sum(start <= moment < start + 1 for moment in times) for start in times) <= 200


def test_paces_are_made_once_per_endpoint_and_tell_the_share_that_was_used() -> None:
    clock = Clock()
    paces = Paces(lambda account, endpoint, rate: pacer(clock, rate), clock=clock)

    async def take(endpoint: str, times: int) -> None:
        for _ in range(times):
            await paces.of("a", endpoint, 10).take()

    asyncio.run(take("/one", 5))
    asyncio.run(take("/two", 1))
    clock.now = 1001.0
    assert paces.use() == "/one 50% of 10/s, /two 10% of 10/s"
    clock.now = 1002.0
    assert paces.use() == ""
    assert paces.of("a", "/one", 10) is paces.of("a", "/one", 10)
    assert paces.of("a", "/one", 10) is not paces.of("b", "/one", 10)
