"""Sending packs of calls to the bulk endpoints, and finding the verdict on every single one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reverse_etl.delivery.destination import Call, Verdict
from reverse_etl.delivery.retry import Sleep
from reverse_etl.errors import AccountRefused, CallRejected, DestinationError, UserNotFound, UserSuppressed
from reverse_etl.iterable.bulk_answers import BadRows, BulkAnswer
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.limits import Endpoint
from reverse_etl.iterable.payloads import EVENT_TRACK, USER_UPDATE
from reverse_etl.iterable.single import SingleSender

log = logging.getLogger(__name__)

WAITS_FOR_VISIBILITY = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between tries of events whose user the platform does not see yet; user writes become visible late."""

MOST_REFUSED_REQUESTS = 24
"""Refused requests of one pack after which its rows go singly: half a pack of bad rows would cost a thousand."""


@dataclass(frozen=True, slots=True)
class BulkShape:
    """How the calls of a kind are put into one request."""

    endpoint: Endpoint
    opening: bytes


SHAPES = {
    USER_UPDATE: BulkShape(Endpoint.USER_BULK_UPDATE, b'{"users":['),
    EVENT_TRACK: BulkShape(Endpoint.EVENT_TRACK_BULK, b'{"events":['),
}
CLOSING = b"]}"


class BulkSender:
    """Sends packs for one client; fields the project drops are reported once each in the log."""

    def __init__(self, client: IterableClient, *, sleep: Sleep = asyncio.sleep) -> None:
        self._client = client
        self._sleep = sleep
        self._dropped_fields: set[str] = set()

    async def send(self, calls: Sequence[Call]) -> list[Verdict]:
        """Return the verdict on each call, in their order; raise AccountRefused."""
        verdicts = await _Pack(self._client, self._note_dropped).resolve(list(calls))
        for wait in WAITS_FOR_VISIBILITY:
            hidden = [place for place, verdict in enumerate(verdicts) if isinstance(verdict, UserNotFound)]
            if not hidden:
                break
            await self._sleep(wait)
            again = await _Pack(self._client, self._note_dropped).resolve([calls[place] for place in hidden])
            for place, verdict in zip(hidden, again, strict=True):
                verdicts[place] = verdict
        return verdicts

    def _note_dropped(self, answer: BulkAnswer) -> None:
        new = answer.dropped_fields - self._dropped_fields
        if new:
            self._dropped_fields |= new
            log.warning("The project takes no new fields and dropped %d: %s", len(new), ", ".join(sorted(new)))


class _Pack:
    """The rows of one pack until each has its verdict."""

    def __init__(self, client: IterableClient, note: Callable[[BulkAnswer], None]) -> None:
        self._client = client
        self._singly = SingleSender(client)
        self._note = note
        self._refused_requests = 0

    async def resolve(self, calls: Sequence[Call]) -> list[Verdict]:
        """Send the calls in one request; divide it when it is refused as a whole."""
        if not calls:
            return []
        shape = SHAPES[calls[0].kind]
        body = shape.opening + b",".join(call.body for call in calls) + CLOSING
        try:
            answer, tries = await self._client.send_bulk(shape.endpoint, body)
        except AccountRefused:
            raise
        except BadRows as refusal:
            return await self._without_bad_rows(calls, refusal)
        except (CallRejected, UserNotFound, UserSuppressed) as refusal:
            return await self._divide(calls, refusal)
        except DestinationError as failure:
            return [failure] * len(calls)
        self._note(answer)
        verdicts = answer.verdicts(calls, tries)
        open_calls = [call for call, verdict in zip(calls, verdicts, strict=True) if verdict is None]
        singly = iter(await self._singly.send(open_calls))
        return [verdict or next(singly) for verdict in verdicts]

    async def _without_bad_rows(self, calls: Sequence[Call], refusal: BadRows) -> list[Verdict]:
        bad = {place for place in refusal.rows if place < len(calls)}
        if not bad:
            return await self._divide(calls, refusal)
        left = [call for place, call in enumerate(calls) if place not in bad]
        # An answer may name one bad row at a time.
        rest = iter(await (self._singly.send(left) if self._is_refused_too_often() else self.resolve(left)))
        return [refusal if place in bad else next(rest) for place in range(len(calls))]

    async def _divide(self, calls: Sequence[Call], refusal: DestinationError) -> list[Verdict]:
        if len(calls) == 1:
            return [refusal]
        if self._is_refused_too_often():
            return await self._singly.send(calls)
        middle = len(calls) // 2
        return await self.resolve(calls[:middle]) + await self.resolve(calls[middle:])

    def _is_refused_too_often(self) -> bool:
        """Count a refused request; whether the rows left should go singly."""
        self._refused_requests += 1
        return self._refused_requests > MOST_REFUSED_REQUESTS
