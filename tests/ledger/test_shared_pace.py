"""Pacers that take their slots from the ledger: one rate for all who share it."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Iterable
from pathlib import Path

import pytest

from reverse_etl.delivery.pacing import LATENESS, Paces
from reverse_etl.errors import LedgerUnavailable
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.pacing import LeasedSlots, LedgerClock, shared_paces
from reverse_etl.ledger.records import Lease
from tests.ledger.samples import ACCOUNT

ENDPOINT = "/api/users/update"


async def moments(paces: Paces, requests: int, rate: float, account: str = ACCOUNT) -> list[float]:
    times = []
    for _ in range(requests):
        await paces.of(account, ENDPOINT, rate).take()
        times.append(time.monotonic())
    return times


async def together(work: Iterable[Awaitable[list[float]]]) -> list[float]:
    return sorted(itertools.chain.from_iterable(await asyncio.gather(*work)))


def busiest_second(times: list[float]) -> int:
    return max(sum(start <= later < start + 1 for later in times) for start in times)


async def test_a_ledger_that_cannot_be_reached_lets_nothing_through(server_url: str) -> None:
    from reverse_etl.ledger.budgets import Budgets
    from reverse_etl.ledger.database import Database

    database = Database(server_url.replace("127.0.0.1:", "127.0.0.1:1"), patience=1)
    with pytest.raises(LedgerUnavailable):
        await moments(shared_paces(Budgets(database)), 1, 100)
    database.close()


async def test_everybody_together_keeps_the_rate_and_uses_it(url: str) -> None:
    rate = 200
    # Each may make up for what it was late, and be late again with the one request it has in hand.
    most = rate * (1 + LATENESS) + 3
    with Ledger.open(url) as one, Ledger.open(url) as other:
        shared = [shared_paces(ledger.budgets) for ledger in (one, other, other)]
        by_each = await asyncio.gather(*(moments(paces, 2 * rate, rate) for paces in shared))
        for paces in shared:
            await paces.close()
    times = sorted(itertools.chain.from_iterable(by_each))
    assert busiest_second(times) <= most
    # What the first to finish had leased and needs no more is lost.
    while_all_ask = [moment for moment in times if moment <= min(map(max, by_each))]
    # A busy machine is late and loses some; how much of the rate is used otherwise, the benchmarks measure.
    assert len(while_all_ask) / (while_all_ask[-1] - while_all_ask[0]) >= 0.8 * rate


@pytest.mark.parametrize(
    ("answers", "begins"),
    [
        pytest.param([(10.0, 110.0, 10.5)], [10.5], id="of one answer nobody knows how late it is"),
        pytest.param([(10.0, 110.0, 10.5), (11.0, 111.0, 11.1)], [10.5, 11.1], id="a quicker one tells more"),
        pytest.param([(11.0, 111.0, 11.1), (12.0, 112.0, 12.9)], [11.1, 12.1], id="a slower one moves no lease"),
        pytest.param(
            [(11.0, 111.0, 11.1), (12.0, 113.0, 13.0)], [11.1, 13.0], id="who waits for the lock is not early"
        ),
        pytest.param([(11.0, 111.0, 11.1), (22.0, 112.0, 22.4)], [11.1, 22.0], id="the ledger's clock was set back"),
        pytest.param([(11.0, 111.0, 11.1), (12.0, 212.0, 12.3)], [11.1, 12.3], id="it was set forward"),
    ],
)
def test_when_a_lease_begins(answers: list[tuple[float, float, float]], begins: list[float]) -> None:
    """An answer is asked for at a moment here, given at one of the ledger's clock, and read at one here."""
    clock = LedgerClock()
    found = [clock.begin_of(Lease(given, 0.0, 0.1, 5), asked=asked, read=read) for asked, given, read in answers]
    assert found == pytest.approx(begins)


async def test_who_is_held_up_does_not_move_into_the_slots_of_others(url: str) -> None:
    rate, each = 20, 60

    async def slots(leased: LeasedSlots) -> list[float]:
        return [await leased.next(math.inf) for _ in range(each)]

    async def hold_up() -> None:
        for _ in range(6):
            await asyncio.sleep(0.001)
            time.sleep(0.1)  # noqa: ASYNC251 - the event loop stands still meanwhile

    with Ledger.open(url) as ledger:
        sharing = [LeasedSlots(ledger.budgets, LedgerClock(), ACCOUNT, ENDPOINT, rate) for _ in range(2)]
        for leased in sharing:
            await slots(leased)
        *taken, _ = await asyncio.gather(*map(slots, sharing), hold_up())
        for leased in sharing:
            await leased.close()
    moments = sorted(itertools.chain.from_iterable(taken))
    assert min(later - earlier for earlier, later in itertools.pairwise(moments)) > 0.5 / rate


@pytest.mark.parametrize("lateness", [0.0, 0.1])
async def test_who_is_always_answered_late_gets_on_all_the_same(sqlite_url: str, lateness: float) -> None:
    with Ledger.open(sqlite_url) as ledger:
        clock = itertools.count(step=0.5)
        leased = LeasedSlots(ledger.budgets, LedgerClock(), ACCOUNT, ENDPOINT, 10, clock=lambda: next(clock))
        assert len([await leased.next(lateness) for _ in range(5)]) == 5
        await leased.close()


async def test_slow_rates_are_shared_too(sqlite_url: str) -> None:
    with Ledger.open(sqlite_url) as ledger:
        shared = [shared_paces(ledger.budgets), shared_paces(ledger.budgets)]
        times = await together(moments(paces, 4, 4.95) for paces in shared)
        for paces in shared:
            await paces.close()
    assert times[-1] - times[0] >= 7 / 4.95 - 0.1


async def test_another_account_has_a_rate_of_its_own(sqlite_url: str) -> None:
    with Ledger.open(sqlite_url) as ledger:
        paces = shared_paces(ledger.budgets)
        started = time.monotonic()
        await asyncio.gather(moments(paces, 10, 10, "a" * 32), moments(paces, 10, 10, "b" * 32))
        await paces.close()
    assert time.monotonic() - started < 1.85, "one after the other they take 1.9 s"


async def test_a_pause_holds_everybody_back(sqlite_url: str) -> None:
    with Ledger.open(sqlite_url) as ledger:
        one, other = shared_paces(ledger.budgets), shared_paces(ledger.budgets)
        await moments(one, 2, 100)
        await one.of(ACCOUNT, ENDPOINT, 100).pause(1.0)
        paused = time.monotonic()
        times = await asyncio.gather(moments(one, 1, 100), moments(other, 1, 100))
        await one.close()
        await other.close()
    assert min(moment for (moment,) in times) - paused >= 0.9


async def test_idle_time_is_not_saved_up(sqlite_url: str) -> None:
    with Ledger.open(sqlite_url) as ledger:
        paces = shared_paces(ledger.budgets)
        await moments(paces, 1, 50)
        await asyncio.sleep(1.5)
        times = await moments(paces, 50, 50)
        await paces.close()
    assert times[-1] - times[0] >= 0.85


async def test_a_lease_asked_for_ahead_is_left_without_a_warning_when_the_work_ends(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        paces = shared_paces(ledger.budgets)
        await moments(paces, 9, 10)
        await paces.close()


async def test_who_needs_little_of_the_rate_leaves_the_rest_to_the_others(sqlite_url: str) -> None:
    """With leases of a whole second the two would have the rate by turns, and take a second for each turn."""
    with Ledger.open(sqlite_url) as ledger:
        shared = [shared_paces(ledger.budgets), shared_paces(ledger.budgets)]
        started = time.monotonic()
        await asyncio.gather(*(now_and_then(paces, 10, 0.05) for paces in shared))
        for paces in shared:
            await paces.close()
    assert time.monotonic() - started < 1.4


async def now_and_then(paces: Paces, requests: int, seconds: float) -> None:
    for _ in range(requests):
        await paces.of(ACCOUNT, ENDPOINT, 1000).take()
        await asyncio.sleep(seconds)
