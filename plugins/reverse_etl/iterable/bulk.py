"""Sending packs of calls to the bulk endpoints, and finding the verdict on every single one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reverse_etl.delivery.destination import Call, Tell, Verdict
from reverse_etl.delivery.retry import Sleep
from reverse_etl.delivery.verdicts import DividedPack, tell_nobody
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
"""Refused requests of one pack after which its rows go singly."""


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

    async def send(self, calls: Sequence[Call], tell: Tell = tell_nobody) -> list[Verdict]:
        """Return the verdict on each call, in their order; raise AccountRefused.

        `tell` takes those that stand before anything else is sent or waited for.
        """
        pack = _Pack(self._client, calls, self._note_dropped, tell)
        await pack.resolve(range(len(calls)))
        for wait in WAITS_FOR_VISIBILITY:
            hidden = pack.verdicts.not_found
            if not hidden:
                break
            await self._sleep(wait)
            await pack.resolve(hidden)
        return pack.verdicts.all()

    def _note_dropped(self, answer: BulkAnswer) -> None:
        new = answer.dropped_fields - self._dropped_fields
        if new:
            self._dropped_fields |= new
            log.warning("The project takes no new fields and dropped %d: %s", len(new), ", ".join(sorted(new)))


class _Pack(DividedPack):
    def __init__(
        self, client: IterableClient, calls: Sequence[Call], note: Callable[[BulkAnswer], None], tell: Tell
    ) -> None:
        super().__init__(len(calls), tell, most_refused=MOST_REFUSED_REQUESTS)
        self._client = client
        self._calls = calls
        self._singly = SingleSender(client)
        self._note = note

    async def resolve(self, places: Sequence[int]) -> None:
        if not places:
            return
        calls = [self._calls[place] for place in places]
        shape = SHAPES[calls[0].kind]
        body = shape.opening + b",".join(call.body for call in calls) + CLOSING
        try:
            answer, tries = await self._client.send_bulk(shape.endpoint, body)
        except AccountRefused:
            raise
        except BadRows as refusal:
            await self._leave_out_bad(places, refusal)
        except (CallRejected, UserNotFound, UserSuppressed) as refusal:
            await self.divide(places, refusal)
        except DestinationError as failure:
            await self.verdicts.note(dict.fromkeys(places, failure))
        else:
            self._note(answer)
            found = dict(zip(places, answer.verdicts(calls, tries), strict=True))
            await self.verdicts.note({place: verdict for place, verdict in found.items() if verdict is not None})
            await self.send_singly([place for place, verdict in found.items() if verdict is None])

    async def _leave_out_bad(self, places: Sequence[int], refusal: BadRows) -> None:
        bad = {places[row] for row in refusal.rows if row < len(places)}
        if not bad:
            await self.divide(places, refusal)
            return
        await self.verdicts.note(dict.fromkeys(bad, refusal))
        left = [place for place in places if place not in bad]
        # An answer may name one bad row at a time.
        await (self.send_singly(left) if self.is_refused_too_often() else self.resolve(left))

    async def alone(self, place: int) -> Verdict:
        return await self._singly.send(self._calls[place])
