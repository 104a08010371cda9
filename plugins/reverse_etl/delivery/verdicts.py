"""The verdicts on the calls of one pack, told as they come while other calls need another request or a wait."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from reverse_etl.delivery.destination import Tell, Verdict
from reverse_etl.errors import DestinationError, UserNotFound


async def tell_nobody(found: Mapping[int, Verdict]) -> None:
    """Take verdicts where nobody records them."""


async def send_each(places: Sequence[int], send: Callable[[int], Coroutine[Any, Any, Verdict]], tell: Tell) -> None:
    """Send the calls at `places` one by one, all at once, and tell the verdicts as they come.

    Raise the first error of `send`, and then send no more: what had come by then is told.
    """
    place_of = {asyncio.ensure_future(send(place)): place for place in places}
    sending = set(place_of)
    problem: BaseException | None = None
    try:
        while sending and problem is None:
            done, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            problem = next(filter(None, (one.exception() for one in done)), None)
            await tell({place_of[one]: one.result() for one in done if one.exception() is None})
    finally:
        for one in sending:
            one.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
    if problem is not None:
        raise problem


class Verdicts:
    """Collects the verdicts on a pack of `count` calls, each named by its place in the pack."""

    def __init__(self, count: int, tell: Tell) -> None:
        self._count = count
        self._tell = tell
        self._found: dict[int, Verdict] = {}
        self._open = count

    async def note(self, found: Mapping[int, Verdict]) -> None:
        """Keep verdicts, and tell those that stand unless nothing else is open: then `all` says the same at once.

        A person who is not found may be so later: that does not stand.
        """
        self._found |= found
        standing = {place: verdict for place, verdict in found.items() if not isinstance(verdict, UserNotFound)}
        self._open -= len(standing)
        if standing and self._open:
            await self._tell(standing)

    @property
    def not_found(self) -> list[int]:
        """The places of calls about people who were not found."""
        return sorted(place for place, verdict in self._found.items() if isinstance(verdict, UserNotFound))

    def all(self) -> list[Verdict]:
        """Return the verdict on each call, in their order; every one must have been noted."""
        return [self._found[place] for place in range(self._count)]


class DividedPack(ABC):
    """The `count` calls of one pack until each has its verdict; `places` are those of calls in the pack.

    A request that is refused as a whole is divided until the bad call is found. After `most_refused` such requests what
    is left goes singly: half a pack of bad calls would cost a thousand.
    """

    def __init__(self, count: int, tell: Tell, *, most_refused: int) -> None:
        self.verdicts = Verdicts(count, tell)
        self._most_refused = most_refused
        self._refused = 0

    @abstractmethod
    async def resolve(self, places: Sequence[int]) -> None:
        """Send the calls in one request; divide it when it is refused as a whole."""

    @abstractmethod
    async def alone(self, place: int) -> Verdict:
        """Send one call by itself and return the verdict on it; raise AccountRefused."""

    async def divide(self, places: Sequence[int], refusal: DestinationError) -> None:
        """Find the verdicts on calls whose common request was refused."""
        if len(places) == 1:
            await self.verdicts.note({places[0]: refusal})
        elif self.is_refused_too_often():
            await self.send_singly(places)
        else:
            middle = len(places) // 2
            await self.resolve(places[:middle])
            await self.resolve(places[middle:])

    async def send_singly(self, places: Sequence[int]) -> None:
        """Send calls one by one."""
        await send_each(places, self.alone, self.verdicts.note)

    def is_refused_too_often(self) -> bool:
        """Count a refused request; return whether what is left should go singly."""
        self._refused += 1
        return self._refused > self._most_refused
