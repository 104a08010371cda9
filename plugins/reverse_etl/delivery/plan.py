"""What a run would do, found out without a request: rows by reason, requests by endpoint, a sample without values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from reverse_etl.delivery.destination import Call, Destination, PackLimit, RenderedRow, Row
from reverse_etl.delivery.outcomes import CallResult, Outcome, RowResult
from reverse_etl.errors import InvalidRow
from reverse_etl.redaction import KeyHasher, without_values

SAMPLES_OF_A_REASON = 3

REMOVED = "removed"
"""What rows that have left the source are called beside the reasons."""


class Reason(StrEnum):
    """Why a row, or a call of it, would be sent."""

    NEW = "new"
    CHANGED = "changed"
    CHANGED_MAPPING = "changed_mapping"
    """Under an earlier mapping the row still gives the call last delivered."""
    IN_DOUBT = "in_doubt"
    """The last try did not arrive, or something may have been sent since that nobody knows of."""
    AS_BEFORE = "as_before"
    """Equals the call last delivered, and the run sends all."""


class Refusal(NamedTuple):
    """Why rows would not be sent: outcome, reason code, and the field of the mapping it is about, empty for none."""

    outcome: Outcome
    code: str
    field: str


class Known(NamedTuple):
    """The fingerprint a call was last delivered with, and whether the platform still holds it for sure."""

    fingerprint: str | None
    is_proof: bool


@dataclass
class Earlier:
    """A mapping the sync had before: what it renders, and the columns it reads."""

    render: Callable[[Row], RenderedRow]
    columns: frozenset[str]


@dataclass
class _Packing:
    """Counts the requests that calls of one lane need."""

    endpoint: str
    per_second: float
    limit: PackLimit
    requests: int = 0
    calls: int = 0
    _in_pack: int = 0
    _bytes: int = 0

    def add(self, call: Call) -> None:
        size = len(call.body)
        has_room = self._in_pack < self.limit.calls and self._bytes + size <= self.limit.body_bytes
        if not self.requests or not has_room:
            self.requests += 1
            self._in_pack = self._bytes = 0
        self.calls += 1
        self._in_pack += 1
        self._bytes += size


@dataclass
class Plan:
    """Takes in the rows of a batch in place of sending them.

    `sends_all` is whether the run would send what is unchanged too. `state` tells what is known of a call by hashed key
    and kind; `earlier` are mappings the sync had before, the latest first.
    """

    sends_all: bool
    hash_key: KeyHasher
    state: Callable[[str, str], Known | None]
    earlier: Sequence[Earlier] = ()
    reasons: Counter[Reason] = field(default_factory=Counter)
    samples: list[dict[str, Any]] = field(default_factory=list)
    refused: Counter[Refusal] = field(default_factory=Counter)
    _refused_first: dict[Refusal, str] = field(default_factory=dict)
    _lanes: dict[str, _Packing] = field(default_factory=dict)
    _lane_of_kind: dict[str, _Packing] = field(default_factory=dict)

    def note(
        self,
        key: str,
        row: Row,
        rendered: RenderedRow,
        known: Sequence[CallResult | None],
        destination: Destination,
    ) -> RowResult:
        """Take in a row with what is `known` of its calls; return what would become of it, `planned` if it is sent."""
        equal = [result is not None for result in known] if known else [False] * len(rendered.calls)
        if all(equal) and not self.sends_all:
            return RowResult(key, Outcome.UNCHANGED, "unchanged")
        reasons = self._reasons(key, row, rendered, equal)
        for call, reason in zip(rendered.calls, reasons, strict=True):
            if reason is not None:
                self._lane(call.kind, destination).add(call)
        reason = self._reason_of_row(key, rendered, reasons)
        self.reasons[reason] += 1
        if self.reasons[reason] <= SAMPLES_OF_A_REASON:
            self.samples.append(_sample(key, reason, rendered, reasons))
        return RowResult(key, Outcome.PLANNED, reason.value)

    def note_refused(self, key: str, result: CallResult, about: str) -> None:
        """Count a row that would not be sent; `about` is the field of the mapping, empty for none."""
        refusal = Refusal(result.outcome, result.code, about)
        self.refused[refusal] += 1
        self._refused_first.setdefault(refusal, key)

    def as_dict(self) -> dict[str, Any]:
        """Return what was found as JSON values, for XCom."""
        requests: dict[str, dict[str, Any]] = {}
        for lane in self._lanes.values():
            here = requests.setdefault(lane.endpoint, {"requests": 0, "calls": 0, "per_second": lane.per_second})
            here["requests"] += lane.requests
            here["calls"] += lane.calls
        rows = {reason.value: self.reasons[reason] for reason in Reason}
        refused = [
            {**refusal._asdict(), "rows": count, "sample": self._refused_first[refusal]}
            for refusal, count in self.refused.items()
        ]
        return {"rows": rows, "refused": refused, "requests": requests, "sample": self.samples}

    def _reasons(self, key: str, row: Row, rendered: RenderedRow, equal: Sequence[bool]) -> list[Reason | None]:
        """Return why each call would be sent, None for one that would not."""
        reasons: list[Reason | None] = []
        for call, is_equal in zip(rendered.calls, equal, strict=True):
            state = self.state(key, call.kind)
            if is_equal:
                reasons.append(Reason.AS_BEFORE if self.sends_all else None)
            elif state is None:
                reasons.append(Reason.NEW)
            elif not state.is_proof:
                reasons.append(Reason.IN_DOUBT)
            elif self._is_only_mapping(row, call.kind, state):
                reasons.append(Reason.CHANGED_MAPPING)
            else:
                reasons.append(Reason.CHANGED)
        return reasons

    def _is_only_mapping(self, row: Row, kind: str, state: Known) -> bool:
        return any(_under(mapping, row, kind, self.hash_key) == state.fingerprint for mapping in self.earlier)

    def _reason_of_row(self, key: str, rendered: RenderedRow, reasons: Sequence[Reason | None]) -> Reason:
        if all(self.state(key, call.kind) is None for call in rendered.calls):
            return Reason.NEW
        found = {reason for reason in reasons if reason is not None}
        for reason in (Reason.CHANGED, Reason.NEW):
            if reason in found:
                return Reason.CHANGED
        order = (Reason.IN_DOUBT, Reason.CHANGED_MAPPING, Reason.AS_BEFORE)
        return next(reason for reason in order if reason in found)

    def _lane(self, kind: str, destination: Destination) -> _Packing:
        lane = self._lane_of_kind.get(kind)
        if lane is None:
            limit = destination.pack_limit(kind)
            pace = destination.pace(kind)
            lane = self._lanes.setdefault(limit.lane or kind, _Packing(pace.endpoint, pace.per_second, limit))
            self._lane_of_kind[kind] = lane
        return lane


def as_removal(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was found of a batch of removals in the words of a run that mirrors its source."""
    sample = [
        {**row, "reason": REMOVED, "calls": [{**call, "reason": REMOVED} for call in row["calls"]]}
        for row in plan["sample"]
    ]
    return {**plan, "rows": {REMOVED: sum(plan["rows"].values())}, "sample": sample}


def merged(
    plans: Iterable[Mapping[str, Any]], outcomes: Mapping[str, int], problems: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what the batches of a run found as one: rows, of them not `planned` by outcome, and what sending costs.

    `refused` has the rows that would not be sent by reason, the most first, with the hashed key of one of them.
    `problems` say why the run would fail at its end.

    The rows read are all but the `removed`.
    Endpoints have budgets of their own, so the time is that of the one that takes longest.
    """
    rows: Counter[str] = Counter()
    requests: dict[str, dict[str, Any]] = {}
    sample: list[dict[str, Any]] = []
    taken: Counter[str] = Counter()
    refused: dict[tuple[str, str, str], dict[str, Any]] = {}
    for plan in plans:
        rows.update(plan["rows"])
        for here in plan.get("refused", ()):
            reason = refused.setdefault((here["outcome"], here["code"], here["field"]), {**here, "rows": 0})
            reason["rows"] += here["rows"]
        for endpoint, here in plan["requests"].items():
            so_far = requests.setdefault(endpoint, {**here, "requests": 0, "calls": 0})
            so_far["requests"] += here["requests"]
            so_far["calls"] += here["calls"]
        for row in plan["sample"]:
            taken[row["reason"]] += 1
            if taken[row["reason"]] <= SAMPLES_OF_A_REASON:
                sample.append(row)
    others = (Outcome.UNCHANGED, Outcome.INVALID, Outcome.SUPPRESSED)
    seconds = max((here["requests"] / here["per_second"] for here in requests.values()), default=0.0)
    return {
        "rows": {
            **{reason.value: rows[reason] for reason in Reason},
            **{outcome.value: outcomes.get(outcome.value, 0) for outcome in others},
            REMOVED: rows[REMOVED],
        },
        "refused": sorted(refused.values(), key=lambda reason: -int(reason["rows"])),
        "requests": requests,
        "minutes": round(seconds / 60, 2),
        "sample": sample,
        "problems": list(problems),
    }


def _under(mapping: Earlier, row: Row, kind: str, hash_key: KeyHasher) -> str | None:
    """Return the fingerprint a call of the row has under an earlier mapping, None where it has none."""
    if not mapping.columns <= row.keys():
        return None
    try:
        rendered = mapping.render(row)
    except InvalidRow:
        return None
    return next((hash_key.fingerprint(call.body).hex() for call in rendered.calls if call.kind == kind), None)


def _sample(key: str, reason: Reason, rendered: RenderedRow, reasons: Sequence[Reason | None]) -> dict[str, Any]:
    calls = [
        {
            "call": call.kind,
            "reason": "unchanged" if why is None else why.value,
            "payload": without_values(orjson.loads(call.body), keep=(call.name,) if call.name else ()),
        }
        for call, why in zip(rendered.calls, reasons, strict=True)
    ]
    return {"key": key, "reason": reason.value, "calls": calls}
