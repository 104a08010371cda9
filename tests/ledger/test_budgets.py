from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import Lease
from tests.ledger.processes import results
from tests.ledger.samples import ACCOUNT, START

ENDPOINT = "/api/users/update"
NOW = START.timestamp()
MICROSECOND = 1e-6
ROUNDING = 1e-6
"""A float of seconds since 1970 is exact to a quarter of a microsecond."""


@pytest.mark.parametrize(
    ("slots", "rate"),
    [(0, 10), (-1, 10), (1, 0), (1, -5), (601, 10), (2, 0.01), (1, 1e-5), (1, 5e-324), (1, math.nan), (1, math.inf)],
)
def test_a_lease_that_cannot_be_meant_is_refused(sqlite_ledger: Ledger, slots: int, rate: float) -> None:
    with pytest.raises(ConfigurationError, match="a lease of"):
        sqlite_ledger.budgets.lease(ACCOUNT, ENDPOINT, slots, rate)


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_a_push_back_that_cannot_be_meant_is_refused(sqlite_ledger: Ledger, seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="pushed back"):
        sqlite_ledger.budgets.push_back(ACCOUNT, ENDPOINT, seconds)


@pytest.mark.parametrize(("wanted", "limit"), [(-1, 5), (1, -5)])
def test_a_daily_count_below_zero_is_refused(sqlite_ledger: Ledger, wanted: int, limit: int) -> None:
    with pytest.raises(ConfigurationError, match="requests a day"):
        sqlite_ledger.budgets.take_daily(ACCOUNT, ENDPOINT, wanted, limit)


@pytest.mark.parametrize(("account", "endpoint"), [("short", ENDPOINT), (ACCOUNT, ""), (ACCOUNT, "x" * 191)])
def test_a_budget_no_database_can_name_is_refused(sqlite_ledger: Ledger, account: str, endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="account|endpoint"):
        sqlite_ledger.budgets.lease(account, endpoint, 1, 1)


def test_leases_follow_one_another_evenly(ledger: Ledger) -> None:
    lease = ledger.budgets.lease
    assert lease(ACCOUNT, ENDPOINT, 5, 10, now=NOW) == Lease(NOW, 0.0, 0.1, 5)
    assert lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW) == Lease(NOW + 0.5, 0.5, 0.1, 1)
    assert lease(ACCOUNT, ENDPOINT, 1, 2, now=NOW + 0.1) == Lease(NOW + 0.6, 0.5, 0.5, 1)
    assert lease(ACCOUNT, ENDPOINT, 1, 2, now=NOW + 0.1) == Lease(NOW + 1.1, 1.0, 0.5, 1)


def test_one_slot_of_a_small_share_may_take_minutes_and_a_long_queue_of_them_is_kept(ledger: Ledger) -> None:
    leases = [ledger.budgets.lease(ACCOUNT, ENDPOINT, 1, 0.005, now=NOW) for _ in range(25)]
    assert [lease.wait for lease in leases] == [200.0 * number for number in range(25)]


def test_accounts_and_endpoints_have_budgets_of_their_own(ledger: Ledger) -> None:
    lease = ledger.budgets.lease
    lease(ACCOUNT, ENDPOINT, 100, 10, now=NOW)
    assert lease(ACCOUNT, ENDPOINT.upper(), 1, 10, now=NOW).wait == 0
    assert lease("b" * 32, ENDPOINT, 1, 10, now=NOW).wait == 0
    assert lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW).wait == 10


def test_idle_time_is_not_saved_up(ledger: Ledger) -> None:
    ledger.budgets.lease(ACCOUNT, ENDPOINT, 5, 10, now=NOW)
    assert ledger.budgets.lease(ACCOUNT, ENDPOINT, 5, 10, now=NOW + 60).start == NOW + 60


def test_a_push_back_holds_up_later_leases_and_never_shortens_another(ledger: Ledger) -> None:
    budgets = ledger.budgets
    budgets.push_back(ACCOUNT, ENDPOINT, 30, now=NOW)
    budgets.push_back(ACCOUNT, ENDPOINT, 5, now=NOW + 1)
    assert budgets.lease(ACCOUNT, ENDPOINT, 10, 10, now=NOW + 2).wait == 28
    assert budgets.lease(ACCOUNT, ENDPOINT, 10, 10, now=NOW + 2).wait == 29
    assert budgets.lease(ACCOUNT, ENDPOINT, 10, 10, now=NOW + 60).wait == 0


def test_a_clock_that_was_set_back_does_not_stop_delivery(ledger: Ledger) -> None:
    ledger.budgets.lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW)
    assert ledger.budgets.lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW - 3000).wait == pytest.approx(3000.1)
    assert ledger.budgets.lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW - 86_400).wait == 0
    assert ledger.budgets.lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW - 86_400).wait == pytest.approx(0.1)


def test_a_push_back_left_by_a_clock_that_was_set_back_does_not_stop_delivery(ledger: Ledger) -> None:
    ledger.budgets.push_back(ACCOUNT, ENDPOINT, 60, now=NOW)
    assert ledger.budgets.lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW - 3000).wait == 3060
    assert ledger.budgets.lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW - 86_400).wait == 0
    ledger.budgets.push_back(ACCOUNT, ENDPOINT, 30, now=NOW - 86_400)
    assert ledger.budgets.lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW - 86_400).wait == 30


def test_a_push_back_lasts_an_hour_at_most(ledger: Ledger) -> None:
    ledger.budgets.push_back(ACCOUNT, ENDPOINT, 1e9, now=NOW)
    assert ledger.budgets.lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW).wait == 3600


def test_the_clock_of_the_database_is_about_the_time_of_day(ledger: Ledger) -> None:
    import time

    before = time.time()
    lease = ledger.budgets.lease(ACCOUNT, ENDPOINT, 1, 10)
    assert before - 0.1 <= lease.start <= time.time() + 0.1
    assert lease.wait == 0


def test_a_daily_limit_is_kept_until_midnight_utc(ledger: Ledger) -> None:
    take = ledger.budgets.take_daily
    assert [take(ACCOUNT, ENDPOINT, 4, 10, now=NOW) for _ in range(4)] == [4, 4, 2, 0]
    assert take(ACCOUNT, ENDPOINT, 0, 10, now=NOW) == 0
    assert take(ACCOUNT, ENDPOINT, 5, 8, now=NOW) == 0
    assert take(ACCOUNT, ENDPOINT, 5, 12, now=NOW) == 2
    midnight = NOW - NOW % 86_400 + 86_400
    assert take(ACCOUNT, ENDPOINT, 1, 12, now=midnight - MICROSECOND) == 0
    assert take(ACCOUNT, ENDPOINT, 1, 12, now=midnight) == 1
    assert take("b" * 32, ENDPOINT, 1, 12, now=NOW) == 1


def test_a_lease_and_a_daily_count_do_not_touch_each_other(ledger: Ledger) -> None:
    budgets = ledger.budgets
    budgets.take_daily(ACCOUNT, ENDPOINT, 3, 5, now=NOW)
    budgets.push_back(ACCOUNT, ENDPOINT, 10, now=NOW)
    budgets.lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW)
    assert budgets.take_daily(ACCOUNT, ENDPOINT, 3, 5, now=NOW) == 2
    assert budgets.lease(ACCOUNT, ENDPOINT, 1, 10, now=NOW).wait == 10.1


def test_no_two_processes_get_the_same_moment(url: str) -> None:
    slots, rate = 3, 500
    said = results([("lease", url, 100, slots, rate)] * 4)
    leases = [Lease(start, 0, interval, number) for start, interval, number in sorted(itertools.chain(*said))]
    assert len(leases) == 400
    assert_spaced(leases)
    moments = [moment for lease in leases for moment in moments_of(lease)]
    assert_rate(moments, rate)


def test_processes_share_a_daily_limit_exactly(url: str) -> None:
    said = results([("take", url, 40, 250)] * 4)
    granted = list(itertools.chain(*said))
    assert sum(granted) == 250
    assert set(granted) == {0, 1, 3}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    folder: Path = tmp_path_factory.mktemp("budgets")
    with Ledger.open(f"sqlite:///{folder}/ledger.db") as opened:
        yield opened


STEP = st.one_of(
    st.tuples(st.just("lease"), st.integers(1, 50), st.sampled_from([0.9, 3, 7, 10, 333.3, 500, 2000])),
    st.tuples(st.just("push_back"), st.floats(0, 5), st.just(0.0)),
    st.tuples(st.just("wait"), st.floats(0, 3), st.just(0.0)),
)


@given(st.lists(STEP, max_size=25))
@settings(deadline=None, max_examples=60)
def test_leases_never_overlap_nor_begin_too_early(shared: Ledger, steps: Sequence[tuple[str, float, float]]) -> None:
    account, now, pushed_to = uuid.uuid4().hex, NOW, 0.0
    leases: list[Lease] = []
    for what, amount, rate in steps:
        match what:
            case "wait":
                now += amount
            case "push_back":
                shared.budgets.push_back(account, ENDPOINT, amount, now=now)
                pushed_to = max(pushed_to, now + amount)
            case _:
                slots = min(int(amount), int(50 * rate))
                lease = shared.budgets.lease(account, ENDPOINT, slots, rate, now=now)
                assert lease.start >= max(now, pushed_to) - 2 * ROUNDING
                assert lease.wait == pytest.approx(lease.start - now, abs=2 * ROUNDING)
                leases.append(lease)
    assert leases == sorted(leases, key=lambda lease: lease.start)
    assert_spaced(leases)


def assert_spaced(leases: Sequence[Lease]) -> None:
    for lease, following in itertools.pairwise(leases):
        assert following.start >= lease.start + lease.slots * lease.interval - ROUNDING


def assert_rate(moments: Sequence[float], rate: float) -> None:
    """No window holds more than its share: over a second, half a second, a tenth."""
    for window in (1.0, 0.5, 0.1):
        most = math.ceil(window * rate)
        for first, beyond in zip(moments, moments[most:], strict=False):
            assert beyond - first >= window - ROUNDING


def moments_of(lease: Lease) -> list[float]:
    return [lease.start + number * lease.interval for number in range(lease.slots)]
