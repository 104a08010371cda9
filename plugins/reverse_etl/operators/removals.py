"""What became of the rows of a run that had left the source, for its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reverse_etl.operators.base import DELIVERY, RunParams, failures_of
from reverse_etl.operators.ledger import open_ledger, run_ref
from reverse_etl.operators.mirror import LEAVING, PLANNED
from reverse_etl.operators.returned import RETURNED

if TYPE_CHECKING:
    from reverse_etl.sync import Sync


@dataclass(frozen=True, slots=True)
class Removals:
    """Rows that have left the source (`found`, as the find task counted them), and the removals by outcome.

    `returned` rows were in the source again when they were about to be removed, and were left alone.
    """

    found: Mapping[str, Any] = field(default_factory=dict)
    returned: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def planned(self) -> list[dict[str, Any]]:
        """What a dry run found the removals to be, by batch."""
        planned: list[dict[str, Any]] = self.found.get(PLANNED, [])
        return planned

    def __str__(self) -> str:
        counts = {"to be removed": self.found.get("removed", 0), "returned": self.returned}
        counts |= {f"removals {outcome}": count for outcome, count in self.outcomes.items()}
        counts |= {name: self.found.get(name, 0) for name in ("unknown", "staying")}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON values; `removed` are the rows to be removed: `returned`, and by outcome then."""
        found = {name: self.found.get(name, 0) for name in ("known", "removed", "unknown", "staying")}
        return {**found, "returned": self.returned, "outcomes": dict(self.outcomes)}


def removals_of(
    sync: Sync, context: Mapping[str, Any], extract_task_id: str, *, find_task_id: str, remove_task_id: str
) -> Removals:
    """Return what became of them, and record it as the end of the attempt to remove them; raises LedgerUnavailable."""
    ti = context["ti"]
    found = ti.xcom_pull(task_ids=find_task_id, key=LEAVING) or {}
    batches = ti.xcom_pull(task_ids=find_task_id) or []
    outcomes: Counter[str] = Counter()
    problems: list[str] = []
    deliveries, returned = (_pushed(ti, remove_task_id, key, len(batches)) for key in (DELIVERY, RETURNED))
    for delivery in deliveries:
        outcomes.update(delivery["outcomes"])
        if delivery["stopped"]:
            problems.append(f"removal {delivery['index']} stopped: {delivery['stopped']}")
    problems += failures_of(ti, find_task_id, remove_task_id)
    rows = outcomes.total()
    bad = sum(outcomes[name] for name in ("invalid", "rejected", "failed"))
    if bad > sync.failure_share * rows:
        problems.append(f"{bad} of {rows} rows that have left the source were not removed; the next run tries again")
    if rows and not RunParams.of(context).dry_run:
        _finish(sync, context, extract_task_id, rows, outcomes)
    return Removals(found, sum(returned), {name: count for name, count in outcomes.items() if count}, problems)


def _pushed(ti: Any, task_id: str, key: str, number: int) -> list[Any]:
    """Return what those of `number` mapped tasks pushed that did."""
    if not number:
        return []
    pushed = ti.xcom_pull(task_ids=task_id, key=key, map_indexes=list(range(number)))
    return [value for value in pushed if value is not None]


def _finish(sync: Sync, context: Any, extract_task_id: str, rows: int, outcomes: Mapping[str, int]) -> None:
    from reverse_etl.delivery.outcomes import Outcome

    with open_ledger() as ledger:
        attempt = ledger.begin(run_ref(sync.removal(), context, extract_task_id))
        attempt.finish(rows, {Outcome(name): count for name, count in outcomes.items()})
