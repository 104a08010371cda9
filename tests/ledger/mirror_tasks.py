"""The tasks of a mirror sync, run one by one in this process, by an Airflow that has only what they ask it for.

An Airflow of its own takes seconds for every run; a history has many runs, and there are hundreds of histories.
"""

from __future__ import annotations

import contextvars
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowSkipException

from reverse_etl.errors import ReverseEtlError
from reverse_etl.operators.deliver import DeliverOperator
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.mirror_tasks import ApproveRemovalOperator, FindLeavingOperator, RemoveOperator
from reverse_etl.operators.params import sync_params
from reverse_etl.operators.report import ReportOperator
from reverse_etl.operators.returned import RETURNED
from reverse_etl.sync import Sync

EXTRACT, DELIVER, FIND, APPROVE, REMOVE, REPORT = ORDER = (
    "extract",
    "deliver",
    "find_leaving",
    "approve_removal",
    "remove",
    "report",
)
OPERATORS: dict[str, Any] = {EXTRACT: ExtractOperator, DELIVER: DeliverOperator, FIND: FindLeavingOperator}

NOT_DONE = ("failed", "upstream_failed")
DONE = ("success", "skipped")

START = datetime(2026, 1, 14, 6, 30, tzinfo=UTC)


class Killed(BaseException):
    """The worker is gone."""


class Asked(Exception):
    """Somebody is asked, and has not answered."""


class _Asks(ApprovalOperator):
    """Takes the place of Airflow's own class, to which the question goes."""

    def execute(self, context: Any) -> Any:
        raise Asked


class Approving(ApproveRemovalOperator, _Asks):
    """The task that asks, when it is asked whether."""


OPERATORS |= {APPROVE: Approving, REMOVE: RemoveOperator, REPORT: ReportOperator}


@dataclass
class Worker:
    """Runs tasks until it dies: nothing that a dead one pushes is heard."""

    is_dead: bool = False


@dataclass
class Run:
    """One run of the DAG: what its tasks pushed, how they ended, and what they were given."""

    sync: Sync
    run_id: str
    params: dict[str, Any] = field(default_factory=dict)
    clear_number: int = 0
    pushed: dict[tuple[str, int, str], str] = field(default_factory=dict)
    states: dict[tuple[str, int], str] = field(default_factory=dict)
    tries: dict[tuple[str, int], int] = field(default_factory=dict)
    worker: Worker = field(default_factory=Worker)

    def places(self, task_id: str) -> list[tuple[str, int]]:
        """The task, or its instances over the batches it is mapped over."""
        above = {DELIVER: EXTRACT, REMOVE: FIND}.get(task_id)
        if above is None:
            return [(task_id, -1)]
        return [(task_id, index) for index in range(len(self.pull(above) or []))]

    def state_of(self, task_id: str) -> str:
        states = {self.states.get(place, "none") for place in self.places(task_id)}
        return next((state for state in ("none", "waiting", "failed", "skipped") if state in states), "success")

    def pull(self, task_id: str, key: str = "return_value", index: int = -1) -> Any:
        text = self.pushed.get((task_id, index, key))
        return None if text is None else json.loads(text)

    def execute(self, place: tuple[str, int], call: Callable[[Any, Any], Any] | None = None) -> BaseException | None:
        """Run an instance of a task as a new try of it; return what ended it before its time."""
        task_id, index = place
        if call is None:
            self.pushed = {key: text for key, text in self.pushed.items() if key[:2] != place}
        self.tries[place] = self.tries.get(place, 0) + 1
        operator = self._operator(task_id, index)
        ti = Task(self, task_id, index, self.tries[place])
        try:
            value = contextvars.copy_context().run(self._run, operator, ti, call)
            ti.xcom_push("return_value", value)
        except AirflowSkipException as reason:
            self.states[place] = "skipped"
            return reason
        except Asked as reason:
            self.states[place] = "waiting"
            return reason
        except (Killed, ReverseEtlError) as reason:
            self.states[place] = "failed"
            return reason
        self.states[place] = "success"
        return None

    def _run(self, operator: Any, ti: Task, call: Callable[[Any, Any], Any] | None) -> Any:
        ExecutorSafeguard.tracker.set(operator)
        return operator.execute(ti.context()) if call is None else call(operator, ti.context())

    def _operator(self, task_id: str, index: int) -> Any:
        given = {}
        if index >= 0:
            given["batch"] = self.pull({DELIVER: EXTRACT, REMOVE: FIND}[task_id])[index]
        return OPERATORS[task_id](task_id=task_id, sync=self.sync, **given)

    def answer(self, choice: str) -> BaseException | None:
        """Have somebody answer the question."""
        event = {
            "chosen_options": [choice],
            "params_input": {},
            "responded_at": datetime.now(UTC),
            "responded_by_user": None,
        }

        def complete(operator: Any, context: Any) -> None:
            operator.execute_complete(context, event)

        return self.execute((APPROVE, -1), complete)

    def clear(self, task_id: str) -> None:
        """Clear a task and all after it, as a person does."""
        self.clear_number += 1
        cleared = ORDER[ORDER.index(task_id) :]
        self.states = {place: state for place, state in self.states.items() if place[0] not in cleared}
        self.tries = {place: tries for place, tries in self.tries.items() if place[0] not in cleared}
        self.pushed = {key: text for key, text in self.pushed.items() if key[0] not in cleared}


@dataclass
class Task:
    """What an instance of a task sees of itself."""

    run: Run
    task_id: str
    map_index: int
    try_number: int
    max_tries: int = 0

    @property
    def dag_id(self) -> str:
        return self.run.sync.name

    @property
    def run_id(self) -> str:
        return self.run.run_id

    def xcom_push(self, key: str, value: Any) -> None:
        if self.run.worker.is_dead:
            if key == RETURNED:
                return  # told before anything is removed, and not heard either
            raise Killed
        self.run.pushed[self.task_id, self.map_index, key] = json.dumps(value, default=str)

    def xcom_pull(self, task_ids: str, key: str = "return_value", map_indexes: Sequence[int] | None = None) -> Any:
        if map_indexes is None:
            return self.run.pull(task_ids, key)
        return [self.run.pull(task_ids, key, index) for index in map_indexes]

    def get_ti_count(self, *, dag_id: str, run_ids: list[str], task_ids: list[str], states: Collection[str]) -> int:
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        return sum(state in states for (task_id, _), state in self.run.states.items() if task_id in task_ids)

    def context(self) -> dict[str, Any]:
        declared = sync_params()
        values = {name: param.value for name, param in declared.items()} | self.run.params
        return {
            "ti": self,
            "params": values,
            "dag": SimpleNamespace(params=declared),
            "run_id": self.run_id,
            "dag_run": SimpleNamespace(
                dag_id=self.dag_id,
                run_id=self.run_id,
                clear_number=self.run.clear_number,
                run_type="manual",
                logical_date=START,
                run_after=START + timedelta(microseconds=int(self.run_id.split()[-1])),
                conf={},
            ),
        }
