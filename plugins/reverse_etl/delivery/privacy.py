"""Privacy actions on many people at one account: check, send, mark, and go on where an earlier try ended.

A destination is asked in small chunks: what is under way when the process dies is sent again, which is harmless, as
every action has the same effect twice as once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Protocol

from reverse_etl.delivery.breaker import Breaker
from reverse_etl.delivery.destination import Verdict
from reverse_etl.delivery.outcomes import CallResult, Outcome, result_of
from reverse_etl.errors import (
    AccountRefused,
    ConfigurationError,
    DestinationError,
    DestinationUnavailable,
    InvalidRow,
)

PEOPLE_PER_CHUNK = 100
SECONDS_PER_DAY = 86_400

DAILY_LIMIT = "daily_limit"
NOT_SENT = "not_sent"
NO_IDENTIFIER = "no_identifier"
USER_NOT_FOUND = "user_not_found"
ALREADY_CONFIRMED = "already_confirmed"
NAMED_TWICE = "named_twice"


class Action(StrEnum):
    """What may be asked for a person."""

    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    DELETE = "delete"
    FORGET = "forget"


REMOVING = frozenset({Action.DELETE, Action.FORGET})
"""After these, nothing about the person may stay with us either."""


BLOCKING = frozenset({Action.SUPPRESS, Action.FORGET})
"""After these the platform takes no data of the person, until `unsuppress`."""


@dataclass(frozen=True, slots=True)
class PersonId:
    """The identifiers of one person, in which blanks at either end do not count; both empty is refused as a row."""

    email: str = field(default="", repr=False)
    user_id: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "email", self.email.strip())
        object.__setattr__(self, "user_id", self.user_id.strip())


@dataclass(frozen=True, slots=True)
class DailyLimit:
    """The requests a day (UTC) an account may make at an endpoint."""

    endpoint: str
    requests: int


class PrivacyDestination(Protocol):
    """An account that carries out privacy actions."""

    account: str
    """A hash of 32 characters."""

    actions: frozenset[Action]
    """What it can do."""

    requests_in_flight: int

    def daily_limit(self, action: Action) -> DailyLimit | None:
        """Return how many requests a day may be made for the action, one for a person and try; None without a limit."""

    def asked_by(self, person: PersonId) -> PersonId:
        """Return the person with the one identifier the account is asked by; it may be empty."""

    def check(self, person: PersonId) -> None:
        """Raise InvalidRow for an identifier the platform does not take, before anything is sent."""

    async def privacy(self, action: Action, people: Sequence[PersonId]) -> Sequence[Verdict]:
        """Ask for the action for each person, retries included, and return the verdicts in their order."""


class PrivacyJournal(Protocol):
    """What remembers a job; its methods block."""

    def confirmed(self, people: Sequence[str]) -> frozenset[str]:
        """Return those of the hashed people for whom the action is confirmed."""

    def mark(self, results: Sequence[tuple[str, CallResult]]) -> None:
        """Record results by hashed person."""

    def take_daily(self, endpoint: str, wanted: int, limit: int) -> int:
        """Take up to `wanted` requests of the day's `limit`; return how many were left."""


@dataclass(slots=True)
class PrivacyResult:
    """What became of a job: people read and by outcome and reason, and what stopped it, if anything did.

    `people` are the places (from 0) of those of whom the platform holds nothing any more, as far as it says.
    """

    read: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[tuple[Outcome, str]] = field(default_factory=Counter)
    gone: set[int] = field(default_factory=set)
    stopped: DestinationError | None = None

    def add(self, place: int, outcome: Outcome, code: str) -> None:
        """Count the person at a place of the stream."""
        self.read += 1
        self.outcomes[outcome] += 1
        if outcome is Outcome.DELIVERED or code in (ALREADY_CONFIRMED, USER_NOT_FOUND):
            self.gone.add(place)
        if outcome is not Outcome.DELIVERED:
            self.reasons[outcome, code] += 1

    def add_repeats(self, first: int, places: Iterable[int]) -> None:
        """Count the places that name the person at the place `first` again; they are gone when that one is."""
        for place in places:
            self.add(place, Outcome.UNCHANGED, NAMED_TWICE)
            if first in self.gone:
                self.gone.add(place)

    def adds_up(self) -> bool:
        """Return whether the sum rule holds."""
        return self.read == self.outcomes.total()


class PrivacyRun:
    """Carries one action out for a stream of people; `clock` gives seconds since 1970."""

    def __init__(
        self,
        action: Action,
        destination: PrivacyDestination,
        journal: PrivacyJournal,
        hash_person: Callable[[PersonId], str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if action not in destination.actions:
            known = ", ".join(sorted(destination.actions)) or "nothing"
            raise ConfigurationError(f"the destination cannot {action} a person; it knows {known}")
        self._action = action
        self._destination = destination
        self._journal = journal
        self._hash = hash_person
        self._clock = clock
        self._limit = destination.daily_limit(action)
        self._breaker = Breaker()
        self._turns = asyncio.Semaphore(destination.requests_in_flight)

    async def run(self, people: Iterable[PersonId]) -> PrivacyResult:
        """Return what became of everybody; raises LedgerUnavailable when it cannot be recorded."""
        result = PrivacyResult()
        for chunk in _chunks(enumerate(people)):
            await self._chunk(chunk, result)
        result.stopped = self._breaker.stopped
        return result

    async def _chunk(self, chunk: Sequence[tuple[int, PersonId]], result: PrivacyResult) -> None:
        wanted: dict[str, PersonId] = {}
        places: dict[str, list[int]] = {}
        for place, given in chunk:
            person = self._destination.asked_by(given)
            if invalid := self._invalid(person):
                result.add(place, Outcome.INVALID, invalid)
                continue
            key = self._hash(person)
            wanted.setdefault(key, person)
            places.setdefault(key, []).append(place)
        confirmed = await asyncio.to_thread(self._journal.confirmed, list(wanted))
        for key in confirmed:
            del wanted[key]
            result.add(places[key][0], Outcome.UNCHANGED, ALREADY_CONFIRMED)
        may_go = await self._granted(len(wanted))
        verdicts = await asyncio.gather(*(self._one(person) for person in islice(wanted.values(), may_go)))
        await self._count_repeats(verdicts)
        marks: list[tuple[str, CallResult]] = []
        for key, call in zip(islice(wanted, may_go), verdicts, strict=True):
            result.add(places[key][0], call.outcome, call.code)
            if call.tries:
                marks.append((key, call))
        for key in islice(wanted, may_go, None):
            stopped = self._breaker.stopped
            code = DAILY_LIMIT if stopped and stopped.code == DAILY_LIMIT else NOT_SENT
            result.add(places[key][0], Outcome.FAILED, code)
        for first, *others in places.values():
            result.add_repeats(first, others)
        await asyncio.to_thread(self._journal.mark, marks)

    async def _granted(self, wanted: int) -> int:
        if self._breaker.stopped is not None or not wanted:
            return 0
        if self._limit is None:
            return wanted
        limit = self._limit
        granted = await asyncio.to_thread(self._journal.take_daily, limit.endpoint, wanted, limit.requests)
        if granted < wanted:
            self._breaker.stopped = DestinationUnavailable(
                f"the {limit.requests} requests of this UTC day are used up; the same job goes on tomorrow",
                code=DAILY_LIMIT,
                retry_after=SECONDS_PER_DAY - self._clock() % SECONDS_PER_DAY,
            )
        return granted

    async def _count_repeats(self, calls: Sequence[CallResult]) -> None:
        """Count further tries as well: `_granted` took one request for each person."""
        repeats = sum(call.tries - 1 for call in calls if call.tries > 1)
        if self._limit is not None and repeats:
            await asyncio.to_thread(self._journal.take_daily, self._limit.endpoint, repeats, self._limit.requests)

    def _invalid(self, person: PersonId) -> str | None:
        if not person.email and not person.user_id:
            return NO_IDENTIFIER
        try:
            self._destination.check(person)
        except InvalidRow as invalid:
            return invalid.code
        return None

    async def _one(self, person: PersonId) -> CallResult:
        async with self._turns:
            stopped = self._breaker.stopped
            if stopped is not None and stopped.code != DAILY_LIMIT:
                return CallResult(self._action, Outcome.FAILED, NOT_SENT)
            try:
                [verdict] = await self._destination.privacy(self._action, [person])
            except AccountRefused as refused:
                verdict = refused
            self._breaker.note(self._action, [verdict])
            return result_of(self._action, verdict)


def _chunks(people: Iterator[tuple[int, PersonId]]) -> Iterator[list[tuple[int, PersonId]]]:
    while chunk := list(islice(people, PEOPLE_PER_CHUNK)):
        yield chunk
