"""The report of a run: totals that add up, every row that was not delivered, and a verdict."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from reverse_etl.delivery.outcomes import ARRIVED, Outcome, RowResult, Totals, add_up
from reverse_etl.delivery.plan import merged
from reverse_etl.delivery.results import read_results, writing_results
from reverse_etl.staging.files import StagingPath, write_atomically

MOST_DELIVERED_ROWS = 1_000
"""Delivered and unchanged rows in the JSON; the Parquet beside it has all."""


@dataclass(frozen=True, slots=True)
class BatchDelivery:
    """What became of one batch: its rows by outcome, and why it stopped early, if it did.

    `resumed_calls` were settled by an earlier try of the task and not sent again; `resent_calls` were delivered by an
    earlier attempt of the run and sent again, because somebody cleared the task. `plan` is what a dry run found.
    """

    index: int
    results: str
    outcomes: dict[str, int]
    seconds: float
    stopped: str = ""
    resumed_calls: int = 0
    resent_calls: int = 0
    plan: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the fields as JSON values, for XCom."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the report says of the run beside its rows; times in seconds, `send` being `all` or `changed`."""

    sync: str
    day: str
    window_start: str
    window_end: str
    run_id: str
    dry_run: bool
    send: str
    read: int
    seconds: dict[str, float]
    resumed_calls: int = 0
    resent_calls: int = 0


class Report:
    """Counts the results of all batches and writes the JSON and the Parquet of the run.

    `removals` are the counts of rows that have left the source; None for a sync that does not mirror it.
    """

    def __init__(self, facts: RunFacts, failure_share: float) -> None:
        self.facts = facts
        self._failure_share = failure_share
        self.totals = Totals()
        self.removals: dict[str, Any] | None = None
        self._keys = array("Q")
        self._problems: list[str] = []
        self._plans: list[dict[str, Any]] = []

    def add_plan(self, plan: dict[str, Any]) -> None:
        """Take in what a dry run of a batch found."""
        self._plans.append(plan)

    def prediction(self) -> dict[str, Any]:
        """Return what a real run would do; empty where this is one."""
        if not self.facts.dry_run:
            return {}
        excess = self.totals.excess(self.facts.read, self._failure_share, dry_run=True)
        return merged(self._plans, self.totals.as_dict(), excess)

    def add_problem(self, problem: str) -> None:
        """Note something that fails the run whatever the totals say."""
        self._problems.append(problem)

    def write_parquet(self, results: Iterable[RowResult], target: StagingPath) -> None:
        """Write every row result and count it, in bounded memory."""
        with writing_results(target) as parquet:
            for result in results:
                self.totals.add(result)
                self._keys.append(int(result.key[:16], 16))
                parquet.add(result)
        repeated = len(self._keys) - pc.count_distinct(pa.array(self._keys, pa.uint64())).as_py()
        if repeated:
            self.add_problem(
                f"{repeated} rows have the key of another row, so their events overwrite each other; "
                "choose a key that is unique in Sync.key"
            )

    def write_json(self, parquet: StagingPath, target: StagingPath) -> None:
        """Write the summary and the records of the rows in `parquet`, in bounded memory."""
        head = orjson.dumps(self.summary(), option=orjson.OPT_INDENT_2)
        with write_atomically(target) as json:
            json.write(head.removesuffix(b"\n}") + b',\n  "records": [')
            for number, result in enumerate(_worth_a_record(read_results(parquet))):
                json.write((b",\n    " if number else b"\n    ") + orjson.dumps(_record(result)))
            json.write(b"\n  ]\n}\n")

    def summary(self) -> dict[str, object]:
        """Return the JSON's head: facts of the run, totals by user and by outcome, reasons, problems."""
        counts = self.totals.as_dict()
        return {
            **asdict(self.facts),
            "totals": {
                "total_users": self.facts.read,
                "successful": counts[Outcome.DELIVERED] + counts[Outcome.UNCHANGED],
                "partial_failures": self.totals.partial,
                "total_failures": self.totals.without_delivery,
                "read": self.facts.read,
                **counts,
            },
            "reasons": [
                {"outcome": outcome, "code": code, "rows": rows}
                for (outcome, code), rows in self.totals.reasons.most_common()
            ],
            "problems": self.problems(),
            **({} if self.removals is None else {"removals": self.removals}),
            **({"prediction": self.prediction()} if self.facts.dry_run else {}),
        }

    @property
    def adds_up(self) -> bool:
        """Whether every row that was read has one outcome."""
        return add_up(self.facts.read, self.totals.as_dict())

    def problems(self) -> list[str]:
        """Return why the run fails; none means it is fine. What would fail a real run only does not fail a dry one."""
        problems = list(self._problems)
        read, counts = self.facts.read, self.totals.as_dict()
        if not self.adds_up:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
            problems.append(f"the totals do not add up: {read} rows were read, but the outcomes are {listed or 'none'}")
        if not self.facts.dry_run:
            excess = self.totals.excess(read, self._failure_share, dry_run=False)
            problems += [f"{words}; top reasons: {self.totals.top_reasons()}" for words in excess]
        return problems


def _worth_a_record(results: Iterable[RowResult]) -> Iterator[RowResult]:
    fine = 0
    for result in results:
        is_fine = result.outcome in ARRIVED
        fine += is_fine
        if not is_fine or fine <= MOST_DELIVERED_ROWS:
            yield result


def _record(result: RowResult) -> dict[str, object]:
    calls = {
        call.call: {
            "outcome": call.outcome,
            "status": call.status,
            "reason": call.code,
            "tries": call.tries,
            "request_id": call.request_id,
        }
        for call in result.calls
    }
    return {"key": result.key, "outcome": result.outcome, "reason": result.code, "calls": calls}
