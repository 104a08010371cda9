"""Many messages per request, and the verdict on every single one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from reverse_etl.customerio.limits import LARGEST_BATCH_BYTES
from reverse_etl.customerio.messages import Message
from reverse_etl.delivery.breaker import Breaker
from reverse_etl.delivery.destination import Tell, Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.verdicts import DividedPack, tell_nobody
from reverse_etl.errors import AccountRefused, CallRejected, DestinationError

OPENING, CLOSING = b'{"batch":[', b"]}"

MOST_REFUSED_REQUESTS = 40
"""Refused requests of one pack after which its messages go singly."""

SINGLY_AT_ONCE = 20


def batch_body(bodies: Sequence[bytes]) -> bytes:
    """Return the body of a batch request."""
    return OPENING + b",".join(bodies) + CLOSING


def packed(bodies: Sequence[bytes], limit: int = LARGEST_BATCH_BYTES) -> Iterator[slice]:
    """Yield the places of bodies that go into one request, in order, each as full as `limit` bytes allow."""
    empty = len(OPENING) + len(CLOSING) - 1  # one comma less than there are bodies
    start, size = 0, empty
    for place, body in enumerate(bodies):
        more = len(body) + 1
        if place > start and size + more > limit:
            yield slice(start, place)
            start, size = place, empty
        size += more
    if bodies:
        yield slice(start, len(bodies))


class BatchSender:
    """Sends packs by `send`, which posts one encoded batch with retries.

    A batch that is refused is divided until the bad message is found: in strict mode it is not documented whether the
    good ones of a refused batch were taken, and their ids make it harmless to send them again.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[Receipt]]) -> None:
        self._send = send

    async def send_all(self, messages: Sequence[Message]) -> list[Verdict]:
        """Return the verdict on each message, in their order; raise AccountRefused."""
        first_of: dict[str, Message] = {}
        for message in messages:
            first_of.setdefault(message.message_id, message)
        once = list(first_of.values())
        bodies = [message.body for message in once]
        verdicts: list[Verdict] = []
        breaker = Breaker()
        for places in packed(bodies):
            if breaker.stopped is not None:
                verdicts += [breaker.stopped] * (places.stop - places.start)
                continue
            verdicts += await self.send_pack(bodies[places])
            breaker.note("batch", verdicts[places])
        verdict_of = {message.message_id: verdict for message, verdict in zip(once, verdicts, strict=True)}
        return [
            verdict_of[message.message_id] if _is_same(message, first_of[message.message_id]) else _duplicate()
            for message in messages
        ]

    async def send_pack(self, bodies: Sequence[bytes], tell: Tell = tell_nobody) -> list[Verdict]:
        """Send bodies that fit into one request; return the verdict on each, in their order; raise AccountRefused.

        `tell` takes the verdicts there are before anything else is sent.
        """
        pack = _Pack(self._send, bodies, tell)
        await pack.resolve(range(len(bodies)))
        return pack.verdicts.all()


class _Pack(DividedPack):
    def __init__(self, send: Callable[[bytes], Awaitable[Receipt]], bodies: Sequence[bytes], tell: Tell) -> None:
        super().__init__(len(bodies), tell, most_refused=MOST_REFUSED_REQUESTS)
        self._send = send
        self._bodies = bodies
        self._singly = asyncio.Semaphore(SINGLY_AT_ONCE)

    async def resolve(self, places: Sequence[int]) -> None:
        try:
            receipt = await self._send(batch_body([self._bodies[place] for place in places]))
        except AccountRefused:
            raise
        except CallRejected as refusal:
            await self.divide(places, refusal)
        except DestinationError as failure:
            await self.verdicts.note(dict.fromkeys(places, failure))
        else:
            await self.verdicts.note(dict.fromkeys(places, receipt))

    async def alone(self, place: int) -> Verdict:
        async with self._singly:
            try:
                return await self._send(batch_body([self._bodies[place]]))
            except AccountRefused:
                raise
            except DestinationError as refusal:
                return refusal


def _is_same(message: Message, first: Message) -> bool:
    return message is first or message.body == first.body


def _duplicate() -> DestinationError:
    error = CallRejected("another message of the batch has this message_id, with other content", code="duplicate_id")
    error.tries = 0
    return error
