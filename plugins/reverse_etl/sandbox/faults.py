"""Faults on demand: rules that make chosen requests fail in a chosen way."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from reverse_etl.sandbox.exchange import JSON_TYPE, TEXT_TYPE, Answer, html_answer, people_in, person

FaultKind = Literal[
    "status", "delay", "reset", "lost_reply", "garbage", "html", "hang", "truncated", "half", "refuse_rows"
]
RowList = Literal[
    "unexplained",
    "invalidEmails",
    "invalidUserIds",
    "invalidDataEmails",
    "invalidDataUserIds",
    "notFoundEmails",
    "notFoundUserIds",
    "forgottenEmails",
    "forgottenUserIds",
    "conflictEmails",
    "conflictUserIds",
]

_NEEDS = {"status": "status", "delay": "delay_seconds", "refuse_rows": "list"}
_HTML_TITLES = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}

GARBAGE = b"\x00\xff{not json"


class FaultRule(BaseModel):
    """One rule; docs/sandbox.md has the table of kinds and options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = "*"
    kind: FaultKind
    status: int | None = Field(default=None, ge=200, le=599)
    body: Any = None
    headers: dict[str, str] = Field(default_factory=dict)
    delay_seconds: float | None = Field(default=None, ge=0, le=3600)
    times: int | None = Field(default=None, ge=1)
    after: int = Field(default=0, ge=0)
    probability: float = Field(default=1, ge=0, le=1)
    seed: int = 0
    match_email: str | tuple[str, ...] | None = None
    match_user_id: str | tuple[str, ...] | None = None
    applied: bool | None = None
    share: float | None = Field(default=None, gt=0, le=1)
    list: RowList | None = None

    @model_validator(mode="after")
    def _options_fit_the_kind(self) -> Self:
        needed = _NEEDS.get(self.kind)
        if needed and getattr(self, needed) is None:
            msg = f"kind {self.kind} needs {needed}"
            raise ValueError(msg)
        if self.status is not None and self.kind not in ("status", "html", "half"):
            msg = f"status is for the kinds status, html and half, not for {self.kind}"
            raise ValueError(msg)
        if self.applied is not None and self.kind not in ("garbage", "hang"):
            msg = f"applied is for the kinds garbage and hang, not for {self.kind}"
            raise ValueError(msg)
        self._check_rows_options()
        return self

    def _check_rows_options(self) -> None:
        if self.kind != "refuse_rows":
            if self.share is not None or self.list is not None:
                msg = f"share and list are for the kind refuse_rows, not for {self.kind}"
                raise ValueError(msg)
        elif self.share is None and not self._wanted:
            msg = "kind refuse_rows needs share, match_email or match_user_id"
            raise ValueError(msg)

    @property
    def applies_the_change(self) -> bool:
        """Whether the request is handled as usual although its answer is lost or spoilt."""
        if self.kind in ("lost_reply", "truncated", "half"):
            return True
        return self.applied if self.applied is not None else self.kind == "garbage"

    @cached_property
    def _wanted(self) -> frozenset[str]:
        """The people this rule is about; empty for everyone."""
        wanted: set[str] = set()
        for kind, given in (("email", self.match_email), ("userId", self.match_user_id)):
            several = (given,) if isinstance(given, str) else given or ()
            wanted.update(person(kind, identifier) for identifier in several)
        return frozenset(wanted)

    def concerns(self, path: str, people: Iterable[str], rows: int = 0) -> bool:
        """Whether this rule is about a request with this path, these people and so many rows (0: not a bulk one)."""
        if not fnmatchcase(path, self.path) or (self.kind in ("refuse_rows", "half") and not rows):
            return False
        return not self._wanted or not self._wanted.isdisjoint(people)

    def refuses(self, row: dict[str, Any]) -> bool:
        """Whether this rule refuses this row of a bulk request; it decides the same on the same row each time.

        The draw depends on the seed and the row alone, so that it does not matter which of several requests in
        flight comes first.
        """
        if self._wanted and self._wanted.isdisjoint(people_in([row])):
            return False
        if self.share is None:
            return True
        digest = hashlib.blake2b(b"%d:%b" % (self.seed, orjson.dumps(row)), digest_size=8).digest()
        return int.from_bytes(digest) < self.share * 2**64

    def answer(self, injected: Callable[[int], Answer]) -> Answer:
        """Build the answer of the kinds that answer; `injected` builds that of a status without a body of its own."""
        headers = tuple((name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items())
        if self.kind == "garbage":
            return Answer(200, GARBAGE, JSON_TYPE, headers)
        if self.kind == "html":
            status = self.status or 502
            page = html_answer(status, _HTML_TITLES.get(status, "Error"))
            return Answer(page.status, page.body, page.content_type, headers)
        status = self.status or 500
        if isinstance(self.body, str):
            return Answer(status, self.body.encode(), TEXT_TYPE, headers)
        if self.body is not None:
            return Answer(status, orjson.dumps(self.body), JSON_TYPE, headers)
        return replace(injected(status), headers=headers)


class _Armed:
    """A rule and how often it matched and fired."""

    __slots__ = ("draw", "fired", "matched", "rule")

    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self.matched = 0
        self.fired = 0
        self.draw = random.Random(rule.seed).random  # noqa: S311 - repeatable on purpose

    def fires(self) -> bool:
        """Count one matching request and say whether the rule acts on it."""
        self.matched += 1
        if self.matched <= self.rule.after:
            return False
        if self.rule.times is not None and self.fired >= self.rule.times:
            return False
        if self.rule.probability < 1 and self.draw() >= self.rule.probability:
            return False
        self.fired += 1
        return True


class FaultBook:
    """The rules in force, asked in order; the first that fires decides."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def __bool__(self) -> bool:
        return bool(self._armed)

    def replace(self, rules: Iterable[FaultRule]) -> None:
        """Put these rules in force instead of the present ones; their counts begin at zero."""
        self._armed = [_Armed(rule) for rule in rules]

    def choose(self, path: str, people: Iterable[str], rows: int = 0) -> FaultRule | None:
        """Return the rule that acts on this request, or None; `rows` is 0 for a request that is not a bulk one."""
        for armed in self._armed:
            if armed.rule.concerns(path, people, rows) and armed.fires():
                return armed.rule
        return None

    def as_list(self) -> list[dict[str, object]]:
        """Return the rules with `matched` and `fired` counts as JSON-ready values."""
        return [
            {**armed.rule.model_dump(exclude_defaults=True), "matched": armed.matched, "fired": armed.fired}
            for armed in self._armed
        ]
