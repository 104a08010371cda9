"""Rows on their way: packed into requests, one stage per call, never two rows of one person at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from reverse_etl.delivery.destination import Call, PackLimit, RenderedRow
from reverse_etl.delivery.outcomes import ARRIVED, CallResult


@dataclass(slots=True, eq=False)
class RowInFlight:
    """A rendered row with the results of the calls made so far, and the rows that wait for it.

    `place` is that of the row in its batch, from 0; `known` are the results its calls have already, None for those that
    must be sent.
    """

    key: str
    place: int
    rendered: RenderedRow
    known: Sequence[CallResult | None] = ()
    results: list[CallResult] = field(default_factory=list)
    waits_for: int = 0
    followers: list[RowInFlight] = field(default_factory=list)

    def pass_known(self) -> None:
        """Take over the results known already, up to the next call that must be sent or one that did not arrive."""
        for result in self.known[len(self.results) :] if self.known else ():
            if result is None or not self.may_go_on:
                return
            self.results.append(result)

    @property
    def may_go_on(self) -> bool:
        """Whether all calls so far arrived."""
        return not self.results or self.results[-1].outcome in ARRIVED

    @property
    def next_call(self) -> Call:
        """The call that is to be made next."""
        return self.rendered.calls[len(self.results)]

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to be sent: every call was made, or one did not arrive."""
        made = self.results
        return len(made) == len(self.rendered.calls) or bool(made and made[-1].outcome not in ARRIVED)


class Packer:
    """Collects the rows whose next call goes the same lane, and gives them out as packs within the limit."""

    def __init__(self, lane: str, limit: PackLimit) -> None:
        self.lane = lane
        self.limit = limit
        self._rows: deque[tuple[RowInFlight, Call]] = deque()
        self._bytes = 0

    def add(self, row: RowInFlight, call: Call) -> None:
        """Take a row whose next call, `call`, goes this lane."""
        self._rows.append((row, call))
        self._bytes += len(call.body)

    @property
    def is_full(self) -> bool:
        """Whether a pack can be filled to one of its limits."""
        return len(self._rows) >= self.limit.calls or self._bytes >= self.limit.body_bytes

    def __len__(self) -> int:
        return len(self._rows)

    def drain(self) -> list[RowInFlight]:
        """Return all rows; none is left."""
        rows = [row for row, _ in self._rows]
        self._rows.clear()
        self._bytes = 0
        return rows

    def take(self) -> list[tuple[RowInFlight, Call]]:
        """Return the next pack, in the order the rows came; a row too large for any pack goes alone."""
        most, largest = self.limit.calls, self.limit.body_bytes
        size = count = 0
        for _, call in islice(self._rows, most):
            more = len(call.body)
            if count and size + more > largest:
                break
            size += more
            count += 1
        self._bytes -= size
        return [self._rows.popleft() for _ in range(count)]


class Packers:
    """One packer per lane, in the order rows pass through them; `limit_of` a kind of call names its lane."""

    def __init__(self, limit_of: Callable[[str], PackLimit]) -> None:
        self._limit_of = limit_of
        self._by_kind: dict[str, Packer] = {}
        self._by_lane: dict[str, Packer] = {}

    def add(self, row: RowInFlight) -> Packer:
        """Put a row where its next call belongs and return that packer."""
        call = row.next_call
        packer = self._by_kind.get(call.kind)
        if packer is None:
            limit = self._limit_of(call.kind)
            lane = limit.lane or call.kind
            packer = self._by_kind[call.kind] = self._by_lane.setdefault(lane, Packer(lane, limit))
        packer.add(row, call)
        return packer

    def __iter__(self) -> Iterator[Packer]:
        return iter(self._by_lane.values())


class PersonOrder:
    """Lets a row through when every earlier row of the same person is done, by whichever identifier they share."""

    def __init__(self) -> None:
        self._latest: dict[str, RowInFlight] = {}

    def enter(self, row: RowInFlight) -> bool:
        """Return whether the row may go now; otherwise `leave` gives it out when its turn has come."""
        for identifier in row.rendered.identifiers:
            before = self._latest.get(identifier)
            if before is not None and row not in before.followers:
                before.followers.append(row)
                row.waits_for += 1
            self._latest[identifier] = row
        return row.waits_for == 0

    def leave(self, row: RowInFlight) -> Sequence[RowInFlight]:
        """Note that a row is done; return the rows that may go now."""
        for identifier in row.rendered.identifiers:
            if self._latest[identifier] is row:
                del self._latest[identifier]
        if not row.followers:
            return ()
        for follower in row.followers:
            follower.waits_for -= 1
        return [follower for follower in row.followers if follower.waits_for == 0]
