"""From checked messages to their effect: duplicates, suppression, and the log of what was dropped."""

from __future__ import annotations

import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from reverse_etl.sandbox.customerio.checks import Message
from reverse_etl.sandbox.customerio.effects import Effects, LostError
from reverse_etl.sandbox.customerio.reasons import Problem
from reverse_etl.sandbox.customerio.semantic import ABOUT_SUPPRESSED, ACTIONS
from reverse_etl.sandbox.customerio.settings import CustomerIoSettings
from reverse_etl.sandbox.customerio.state import State


class Delivery:
    """Where messages came from: endpoint, key and mode of their request, and when it came in epoch seconds."""

    __slots__ = ("at", "endpoint", "key", "received_at", "strict")

    def __init__(self, endpoint: str, key: str, at: float, *, strict: bool) -> None:
        self.endpoint = endpoint
        self.key = key
        self.at = at
        self.received_at = iso_time(at)
        self.strict = strict


class Intake:
    """Takes messages in; `now` gives epoch seconds.

    What it counts adds up: every message is among those that took effect, the duplicates, or the dropped ones.
    """

    def __init__(self, state: State, now: Callable[[], float] = time.time) -> None:
        self.state = state
        self.now = now
        self.clear()

    def clear(self) -> None:
        """Forget the ids seen, the dropped log and the counts."""
        self.seen: dict[str, dict[str, float]] = {}
        self._next_purge = 0.0
        self._dropped: deque[dict[str, object]] = deque()
        self.dropped_by_reason: Counter[str] = Counter()
        self.duplicates = 0

    def configure(self, settings: CustomerIoSettings, *, keep_bodies: bool) -> None:
        """Put settings in force."""
        self._effects = Effects(self.state, settings, keep_bodies=keep_bodies)
        self._window = settings.dedupe_window_seconds
        self._keep = settings.keep_dropped
        self._next_purge = 0.0
        self._trim()

    def take(self, message: Message, kind: str, source: Delivery, index: int | None) -> None:
        """Let a message take effect unless its messageId was seen under the same key in the window."""
        message_id = message.get("messageId")
        if not message_id:
            message["messageId"] = str(uuid.uuid4())
        elif self._window and self._is_repeated(message_id, source):
            self.duplicates += 1
            return
        try:
            self._apply(message, kind, source.received_at)
        except LostError as lost:
            self.drop(Problem(lost.code), source, message, index, kind)
        else:
            self.state.messages[kind] += 1

    def _is_repeated(self, message_id: str, source: Delivery) -> bool:
        seen = self.seen.get(source.key)
        if seen is None:
            seen = self.seen[source.key] = {}
        cutoff = source.at - self._window
        if source.at >= self._next_purge:
            self._purge(cutoff)
            self._next_purge = source.at + self._window / 4
            seen = self.seen[source.key]
        before = seen.get(message_id)
        if before is not None and before > cutoff:
            return True
        seen[message_id] = source.at
        return False

    def _purge(self, cutoff: float) -> None:
        for key, seen in self.seen.items():
            if any(at <= cutoff for at in seen.values()):
                self.seen[key] = {message_id: at for message_id, at in seen.items() if at > cutoff}

    def _apply(self, message: Message, kind: str, received_at: str) -> None:
        effects, event = self._effects, ""
        if kind == "track":
            event = message["event"] = message["event"].strip()
        user_id = message.get("userId")
        suppressed = self.state.suppressed
        if suppressed and user_id and event not in ABOUT_SUPPRESSED and self.state.is_suppressed(user_id):
            raise LostError("suppressed")
        if event in ACTIONS:
            ACTIONS[event](effects, message, received_at)
            self.state.acted[event] += 1
        elif kind == "identify":
            effects.identify(message)
        elif kind == "group":
            effects.group(message)
        elif kind == "alias":
            effects.alias(message)
        else:
            effects.event(message, kind, received_at)

    def drop(
        self,
        problem: Problem,
        source: Delivery,
        message: object = None,
        index: int | None = None,
        kind: str | None = None,
        *,
        count: int = 1,
    ) -> None:
        """Log that a message, or a whole request of `count` messages, has no effect."""
        self.dropped_by_reason[problem.code] += count
        shown: dict[str, Any] = message if isinstance(message, dict) else {}
        self._dropped.append(
            {
                "reason": problem.code,
                "detail": problem.text,
                "endpoint": source.endpoint,
                "strict": source.strict,
                "index": index,
                "messages": count,
                "type": kind or shown.get("type"),
                "event": shown.get("event"),
                "messageId": shown.get("messageId"),
                "userId": shown.get("userId"),
                "anonymousId": shown.get("anonymousId"),
                "receivedAt": source.received_at,
            }
        )
        self._trim()

    def _trim(self) -> None:
        while len(self._dropped) > self._keep:
            self._dropped.popleft()

    def dropped(self) -> Iterator[dict[str, object]]:
        """Go through the dropped log, the newest of what is kept, in order of arrival."""
        yield from list(self._dropped)


def iso_time(seconds: float) -> str:
    """Return epoch seconds as the API writes times: UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
