"""The Pipelines API as one object: the server asks it for endpoints, people and answers."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from reverse_etl.sandbox.customerio import answers, listing
from reverse_etl.sandbox.customerio.auth import Gate
from reverse_etl.sandbox.customerio.checks import KINDS, NOT_AN_OBJECT, Checker
from reverse_etl.sandbox.customerio.intake import Delivery, Intake
from reverse_etl.sandbox.customerio.rate import RateMeter
from reverse_etl.sandbox.customerio.reasons import Problem
from reverse_etl.sandbox.customerio.sizes import item_sizes, largest_possible
from reverse_etl.sandbox.customerio.state import State
from reverse_etl.sandbox.exchange import BROKEN, Answer, Request, people_in
from reverse_etl.sandbox.iterable.auth import key_identifier
from reverse_etl.sandbox.settings import Settings

_BATCH: Final = "batch"
_BAD_KEY: Final = Problem("bad_key")
_BAD_JSON: Final = Problem("bad_json")
_MESSAGE_TOO_LARGE: Final = Problem("message_too_large")
_BATCH_TOO_LARGE: Final = Problem("batch_too_large")
_INJECTED: Final = Problem("injected")
_GZIP: Final = 31
_NO_KEY: Final = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint; `kind` is the type of its messages, None for the batch."""

    name: str
    kind: str | None


ENDPOINTS: Final = (*(Endpoint(f"POST /v1/{kind}", kind) for kind in KINDS), Endpoint("POST /v1/batch", None))
_BY_NAME: Final = {endpoint.name: endpoint for endpoint in ENDPOINTS}


class CustomerIoApi:
    """Answers the requests below `/v1/`."""

    prefix = "/v1/"
    request_id_header: bytes | None = None

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = State()
        self.intake = Intake(self.state, now)
        self.rate = RateMeter(clock)
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Put settings in force."""
        self._settings = settings.customerio
        self._retry_after = settings.retry_after
        self._gate = Gate(self._settings)
        self._checker = Checker(
            need_zone=self._settings.zoneless_timestamps == "reject",
            email_trait_identifies=self._settings.identify_by_email_trait,
        )
        self._success = answers.SUCCESS if self._settings.success_body == "success" else answers.EMPTY
        self.intake.configure(self._settings, keep_bodies=settings.store == "full")

    def clear(self) -> None:
        """Forget all state and counts."""
        self.state.clear()
        self.intake.clear()
        self.rate.reset()

    def resolve(self, method: str, raw_path: str) -> tuple[Endpoint, str] | None:
        """Return the endpoint, or None for an unknown path or another method than POST."""
        endpoint = _BY_NAME.get(f"{method} {raw_path}")
        return None if endpoint is None else (endpoint, "")

    def unpacked(self, headers: list[tuple[bytes, bytes]], body: bytes, limit: int) -> bytes | None:
        """Return the body without gzip, as it is when it is no gzip, None when it has more than `limit` bytes."""
        if (b"content-encoding", b"gzip") not in headers:
            return body
        reader = zlib.decompressobj(_GZIP)
        try:
            plain = reader.decompress(body, limit + 1)
        except zlib.error:
            return body
        return plain if len(plain) <= limit else None

    def rows(self, endpoint: Endpoint | None, request: Request) -> list[Any]:
        """Return the items of a batch, checked by nothing."""
        if endpoint is None or endpoint.kind is not None or not isinstance(request.payload, dict):
            return []
        rows = request.payload.get(_BATCH)
        return rows if isinstance(rows, list) else []

    def people(self, request: Request, rows: list[Any]) -> tuple[str, ...]:
        """Return whom the request is about, as `userId:...`, each once; empty when it does not say."""
        if rows:
            return tuple(people_in(rows))
        return tuple(people_in([request.payload] if request.body else []))

    def answer(self, endpoint: Endpoint, request: Request) -> Answer:
        """Judge key, rate, size and messages; in strict mode say what is wrong, else drop it in silence."""
        strict = request.header(b"x-strict-mode") == "1"
        key = self._gate.key_of(request)
        source = Delivery(endpoint.name, key_identifier(key) if key else _NO_KEY, self.intake.now(), strict=strict)
        if key is None:
            denied = 401 if strict else self._settings.permissive_bad_key_status
            return self._refuse_all(_BAD_KEY, endpoint, request, source, denied)
        wait = self.rate.take(self._settings.rate_per_3_seconds, enforce=self._settings.enforce_rate)
        if wait is not None:
            return self._throttled(wait)
        problem = self._problem_of_body(endpoint, request)
        if problem is not None:
            status: int = 400 if strict else 200
            if problem is _BAD_JSON and not strict:
                status = self._settings.permissive_bad_json_status
            return self._refuse_all(problem, endpoint, request, source, status)
        if endpoint.kind is None:
            return self._batch(request, source)
        return self._single(request, endpoint.kind, source)

    def _problem_of_body(self, endpoint: Endpoint, request: Request) -> Problem | None:
        """Return what is wrong with the body as a whole."""
        if endpoint.kind is None:
            if request.too_large or len(request.body) > self._settings.max_batch_bytes:
                return _BATCH_TOO_LARGE
        elif request.too_large or len(request.body) > self._settings.max_message_bytes:
            return _MESSAGE_TOO_LARGE
        if request.payload is BROKEN:
            return _BAD_JSON
        if endpoint.kind is None:
            return self._checker.batch(request.payload)
        return None if isinstance(request.payload, dict) else NOT_AN_OBJECT

    def _single(self, request: Request, kind: str, source: Delivery) -> Answer:
        message = request.payload
        problem = self._checker.message(message, kind)
        if problem is None:
            self.intake.take(message, kind, source, None)
            return self._success
        if source.strict:
            return answers.error(400, [problem.text], self._settings.error_shape)
        self.intake.drop(problem, source, message, None, kind)
        return self._success

    def _batch(self, request: Request, source: Delivery) -> Answer:
        """Take the good items; with a bad one, strict mode takes none, or the others, as the settings say."""
        items: list[Any] = request.payload[_BATCH]
        problems = self._problems(items, request.body)
        if problems and source.strict:
            texts = [f"{_BATCH}[{index}]: {problem.text}" for index, problem in problems.items()]
            refusal = answers.error(400, texts, self._settings.error_shape)
            if self._settings.strict_bad_item == "item":
                self._take_items(request, items, problems, source)
            return refusal
        self._take_items(request, items, problems, source)
        return self._success

    def _problems(self, items: list[Any], body: bytes) -> dict[int, Problem]:
        """Return what is wrong with items, by their index."""
        check, limit = self._checker.message, self._settings.max_message_bytes
        problems = {}
        for index, item in enumerate(items):
            problem = check(item, None)
            if problem is not None:
                problems[index] = problem
        if len(body) > limit and largest_possible(items, body) > limit:
            for index, size in enumerate(item_sizes(body, _BATCH)[: len(items)]):
                if size > limit:
                    problems[index] = _MESSAGE_TOO_LARGE
        return dict(sorted(problems.items())) if problems else problems

    def _take_items(self, request: Request, items: list[Any], problems: dict[int, Problem], source: Delivery) -> None:
        default_context, fault = request.payload.get("context"), request.row_refusal
        take, drop = self.intake.take, self.intake.drop
        for index, item in enumerate(items):
            if problems and index in problems:
                if not source.strict:
                    drop(problems[index], source, item, index)
                continue
            if fault is not None and fault.refuses(item):
                drop(_INJECTED, source, item, index)
                continue
            if default_context is not None and item.get("context") is None:
                item["context"] = default_context
            take(item, item["type"], source, index)

    def _refuse_all(
        self, problem: Problem, endpoint: Endpoint, request: Request, source: Delivery, status: int
    ) -> Answer:
        """Refuse a whole request: with an error the sender can see, or with a 200 and an entry in the dropped log."""
        if status != 200:
            return answers.error(status, [problem.text], self._settings.error_shape)
        readable = request.payload if request.body else None
        count = len(self.rows(endpoint, request)) if request.body else 0
        self.intake.drop(problem, source, readable, None, endpoint.kind, count=count or 1)
        return self._success

    def _throttled(self, wait: float) -> Answer:
        text = f"more than {self._settings.rate_per_3_seconds} requests in 3 seconds"
        answer = answers.error(429, [text], self._settings.error_shape)
        if not self._retry_after:
            return answer
        headers = ((b"retry-after", b"%d" % max(1, -int(-wait // 1))),)
        return Answer(answer.status, answer.body, answer.content_type, headers)

    def unknown(self, method: str, raw_path: str) -> Answer:
        """Build the answer to an unknown path, or to another method than POST."""
        if method != "POST" and f"POST {raw_path}" in _BY_NAME:
            answer = answers.error(405, ["only POST is allowed"], self._settings.error_shape)
            return Answer(answer.status, answer.body, answer.content_type, ((b"allow", b"POST"),))
        return answers.error(404, ["no such path"], self._settings.error_shape)

    def injected(self, status: int) -> Answer:
        """Build the answer of a fault that brings no body of its own, in the error shape of the settings."""
        return answers.error(status, ["injected by the sandbox"], self._settings.error_shape)

    def broken(self) -> Answer:
        """Build the answer to a request the sandbox itself failed on."""
        return answers.error(500, ["the sandbox failed; see its log"], "meta_errors")

    def counts(self) -> dict[str, object]:
        """Return what is stored and what became of all messages, as counts."""
        state, intake = self.state, self.intake
        return {
            "people": len(state.people),
            "events": state.event_count,
            "objects": len(state.things),
            "relationships": state.relationship_count,
            "devices": state.device_count,
            "suppressed": len(state.suppressed),
            "messages": dict(state.messages),
            "event_names": dict(state.event_names),
            "acted": dict(state.acted),
            "duplicates": intake.duplicates,
            "dropped": dict(intake.dropped_by_reason),
            "max_requests_in_3_seconds": self.rate.busiest,
            "requests_over_rate": self.rate.over,
        }

    def lines(self, kind: str) -> Iterator[bytes] | None:
        """Go through all of one kind of state as JSON; None for an unknown kind."""
        if kind == "dropped":
            return listing.dropped(self.intake)
        build = listing.KINDS.get(kind)
        return None if build is None else build(self.state)
