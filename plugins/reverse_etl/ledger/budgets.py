"""One rate budget per account and endpoint, shared by every process that uses the same ledger.

A process leases moments at which it may send. The row of the budget holds the next moment nobody has, and is locked
while it moves on, so no two leases overlap. Time comes from the database, or from this machine where SQLite's file is
on it: all users share one clock. Idle time is not saved up: a lease never begins in the past.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, select, update

from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.records import Lease, check_name
from reverse_etl.ledger.schema import RATE_BUDGETS
from reverse_etl.ledger.times import MICROSECONDS, SECONDS_PER_DAY
from reverse_etl.ledger.upserts import insert_new

LONGEST_LEASE_SECONDS = 60.0
"""Somebody who dies with a lease in hand wastes at most this, and a push-back reaches everybody as fast."""

LONGEST_SLOT_SECONDS = 86_400.0
"""A single slot may take longer than a lease: a rate is a share of a limit, and may be a small one."""

LONGEST_QUEUE_SECONDS = 3600.0
LONGEST_QUEUE_SLOTS = 1000
"""No queue of leases has both: a budget further ahead was left by a clock that has been set back since."""

LONGEST_PAUSE_SECONDS = 3600.0
"""A budget that is paused for longer was left so by a clock that has been set back since."""

ACCOUNT_LENGTH = 32

Result = TypeVar("Result")


class _Budget(NamedTuple):
    """A row of the table, without its key; moments in microseconds, the day in days, all since 1970."""

    next_free: int = 0
    paused_until: int = 0
    count_day: int = 0
    day_count: int = 0


class Budgets:
    """Leases of time slots and daily counts. `account` is a hash of 32 characters, `endpoint` a path."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lease(self, account: str, endpoint: str, slots: int, per_second: float, *, now: float | None = None) -> Lease:
        """Reserve the next `slots` moments, evenly spaced at `per_second`, for the caller alone.

        `now` (seconds since 1970) takes the place of the database's clock. Raises ConfigurationError for a lease
        of more than a minute, unless it is of one slot, LedgerUnavailable when nothing can be reserved: then nothing
        may be sent.
        """
        _check(account, endpoint)
        longest = LONGEST_LEASE_SECONDS if slots > 1 else LONGEST_SLOT_SECONDS
        if slots < 1 or not 0 < per_second < math.inf or slots > longest * per_second:
            raise ConfigurationError(
                f"a lease of {slots} slots at {per_second} requests/s, expected at least one slot, "
                f"more than 0 requests/s and at most {LONGEST_LEASE_SECONDS:.0f} s, or one slot a day"
            )
        interval = MICROSECONDS / per_second

        def reserve(connection: Connection, budget: _Budget, present: int) -> Lease:
            longest_queue = max(LONGEST_QUEUE_SECONDS * MICROSECONDS, LONGEST_QUEUE_SLOTS * interval)
            next_free = _unless_left_over(budget.next_free, present, longest_queue)
            start = max(present, next_free, _pause(budget, present))
            _move(connection, account, endpoint, next_free=start + math.ceil(slots * interval))
            return Lease(start / MICROSECONDS, (start - present) / MICROSECONDS, 1 / per_second, slots)

        return self._with_budget("lease request slots", account, endpoint, now, reserve)

    def push_back(self, account: str, endpoint: str, seconds: float, *, now: float | None = None) -> None:
        """Begin no new lease for so many seconds, an hour at most; leases given out stay valid: keep them short."""
        _check(account, endpoint)
        if seconds < 0 or not math.isfinite(seconds):
            raise ConfigurationError(f"a budget is pushed back by {seconds} s, expected 0 or more")

        wait = math.ceil(min(seconds, LONGEST_PAUSE_SECONDS) * MICROSECONDS)

        def pause(connection: Connection, budget: _Budget, present: int) -> None:
            until = max(_pause(budget, present), present + wait)
            _move(connection, account, endpoint, paused_until=until)

        self._with_budget("push back a rate budget", account, endpoint, now, pause)

    def take_daily(self, account: str, endpoint: str, wanted: int, limit: int, *, now: float | None = None) -> int:
        """Take up to `wanted` requests of the `limit` of this UTC day; return how many were left to take."""
        _check(account, endpoint)
        if wanted < 0 or limit < 0:
            raise ConfigurationError(f"{wanted} of {limit} requests a day are asked for, expected 0 or more of both")

        def take(connection: Connection, budget: _Budget, present: int) -> int:
            day = present // (SECONDS_PER_DAY * MICROSECONDS)
            used = budget.day_count if budget.count_day == day else 0
            granted = max(0, min(wanted, limit - used))
            _move(connection, account, endpoint, count_day=day, day_count=used + granted)
            return granted

        return self._with_budget("count requests of the day", account, endpoint, now, take)

    def _with_budget(
        self,
        doing: str,
        account: str,
        endpoint: str,
        now: float | None,
        work: Callable[[Connection, _Budget, int], Result],
    ) -> Result:
        query = (
            select(*(RATE_BUDGETS.c[name] for name in _Budget._fields)).where(_is(account, endpoint)).with_for_update()
        )

        def locked(connection: Connection) -> Result:
            row = connection.execute(query).one_or_none()
            if row is None:
                unused = {"account": account, "endpoint": endpoint, **_Budget()._asdict()}
                insert_new(connection, RATE_BUDGETS, [unused])
                row = connection.execute(query).one()
            # Only now: time passes while waiting for the lock.
            present = self._database.microseconds(connection) if now is None else int(now * MICROSECONDS)
            return work(connection, _Budget(*row), present)

        return self._database.write(doing, locked)


def _unless_left_over(moment: int, present: int, longest: float) -> int:
    """Return the moment, or the present one where it is so far ahead that a clock set back since has left it."""
    return moment if moment - present <= longest else present


def _pause(budget: _Budget, present: int) -> int:
    return _unless_left_over(budget.paused_until, present, LONGEST_PAUSE_SECONDS * MICROSECONDS)


def _move(connection: Connection, account: str, endpoint: str, **values: int) -> None:
    connection.execute(update(RATE_BUDGETS).where(_is(account, endpoint)).values(values))


def _is(account: str, endpoint: str) -> ColumnElement[bool]:
    return and_(RATE_BUDGETS.c.account == account, RATE_BUDGETS.c.endpoint == endpoint)


def _check(account: str, endpoint: str) -> None:
    if len(account) != ACCOUNT_LENGTH:
        raise ConfigurationError(f"the account has {len(account)} characters, expected a hash of {ACCOUNT_LENGTH}")
    check_name("the endpoint", endpoint)
