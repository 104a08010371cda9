"""Run DAGs by `dag.test` in this process and tell the parent about it; started by devstack.run.

Airflow writes to stdout and stderr; the parent reads one JSON object per line from the file descriptor given by
`--events`, each with a key `event`:

- `phase`: `text` says what is being prepared
- `task`: `dag`, `task`, `map_index` (-1 when not mapped), `label`, `state`, `error` (last line or "")
- `end`: `dag`, `state`, `result` (what the task `report` pushed under the key `result`, or null)
- `trouble`: `text` says why a DAG was not run, or not to its end
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

Emit = Callable[[Mapping[str, object]], None]

LOOKS_EVERY_SECONDS = 1.0
WAITS = (
    "waits for somebody's answer, and make run has no page to give it on: start Airflow with make up, trigger the DAG "
    "there, and answer under Required Actions"
)

RESULT_TASK = "report"
RESULT_KEY = "result"


class _TaskInstance(Protocol):
    task_id: str
    dag_id: str
    map_index: int | None


def main(arguments: list[str] | None = None) -> int:
    """Run each DAG for the day, one after the other; return 0 when all succeeded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dag", action="append", required=True)
    parser.add_argument("--date", required=True)
    parser.add_argument("--dags-folder", required=True)
    parser.add_argument("--events", type=int, required=True)
    options = parser.parse_args(arguments)
    with os.fdopen(options.events, "w", encoding="utf-8", buffering=1) as channel:

        def emit(event: Mapping[str, object]) -> None:
            channel.write(json.dumps(event) + "\n")

        prepare_metadata(emit)
        emit({"event": "phase", "text": "Reading the DAG files"})
        progress = Progress(emit)
        progress.listen()
        states = [_run(dag_id, options.date, options.dags_folder, emit, progress) for dag_id in options.dag]
    return 0 if all(state == "success" for state in states) else 1


def prepare_metadata(emit: Emit) -> None:
    """Create or migrate the metadata database when this version of Airflow has not done so before."""
    path = Path(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].removeprefix("sqlite:///"))
    stamp = path.with_name(f"{path.name}.version")
    airflow = version("apache-airflow-core")
    if path.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == airflow:
        return
    emit({"event": "phase", "text": "Preparing Airflow's metadata database (first run only)"})
    from airflow.utils.db import initdb

    initdb()
    stamp.write_text(airflow, encoding="utf-8")


def _run(dag_id: str, day: str, folder: str, emit: Emit, progress: Progress) -> str:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=folder)
    dag = bag.dags.get(dag_id)
    if dag is None:
        for path, trace in bag.import_errors.items():
            print(path, trace, sep="\n", file=sys.stderr)
        emit({"event": "trouble", "text": _why_absent(dag_id, folder, bag.import_errors)})
        return "failed"
    emit({"event": "phase", "text": f"Running {dag_id}"})
    # Without a logical date given, dag.test takes the present instant: unique, so no run is repeated.
    with _asking_nobody(dag_id, emit):
        run = dag.test(run_conf={"date": day})
    progress.report_unseen(run)
    emit({"event": "end", "dag": dag_id, "state": str(run.state), "result": _result(dag_id, run.run_id)})
    return str(run.state)


@contextmanager
def _asking_nobody(dag_id: str, emit: Emit) -> Iterator[None]:
    """End this process when a task waits for somebody's answer: there is no page here to give it on."""
    ended, begun = Event(), datetime.now(UTC)

    def look() -> None:
        while not ended.wait(LOOKS_EVERY_SECONDS):
            if task_id := _waiting(dag_id, begun):
                emit({"event": "trouble", "text": f"{dag_id}: {task_id} {WAITS}"})
                os.kill(os.getpid(), signal.SIGINT)
                return

    watching = Thread(target=look, daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


def _waiting(dag_id: str, since: datetime) -> str | None:
    """Return a task of a run begun since then that waits for an answer, if one does."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    query = select(TaskInstance.task_id).where(
        TaskInstance.dag_id == dag_id,
        TaskInstance.state == TaskInstanceState.AWAITING_INPUT,
        # Runs that were ended so wait for ever.
        TaskInstance.start_date >= since,
    )
    with create_session() as session:
        return session.scalars(query).first()


def _why_absent(dag_id: str, folder: str, import_errors: Mapping[str, str]) -> str:
    if not import_errors:
        return f"There is no DAG {dag_id} in {folder}."
    path, trace = next(iter(import_errors.items()))
    return f"{path} cannot be read: {last_line(trace)}"


def _result(dag_id: str, run_id: str) -> object:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        query = XComModel.get_many(
            run_id=run_id, key=RESULT_KEY, task_ids=RESULT_TASK, dag_ids=dag_id
        ).with_only_columns(XComModel)
        found = session.scalars(query).first()
        return None if found is None else XComModel.deserialize_value(found)


class Progress:
    """An Airflow listener that tells the parent when a task starts and ends."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._seen: set[tuple[str, str, int]] = set()

    def listen(self) -> None:
        """Register with Airflow, which calls listeners in the process that runs the tasks: this one."""
        from airflow.listeners import hookimpl
        from airflow.sdk.listener import get_listener_manager

        tell = self._tell

        class Listener:
            @hookimpl
            def on_task_instance_running(self, task_instance: _TaskInstance) -> None:
                tell(task_instance, "running")

            @hookimpl
            def on_task_instance_success(self, task_instance: _TaskInstance) -> None:
                tell(task_instance, "success")

            @hookimpl
            def on_task_instance_skipped(self, task_instance: _TaskInstance) -> None:
                tell(task_instance, "skipped")

            @hookimpl
            def on_task_instance_failed(self, task_instance: _TaskInstance, error: object) -> None:
                state = str(getattr(task_instance, "state", None) or "failed")
                tell(task_instance, state, last_line(str(error or "")))

        get_listener_manager().add_listener(Listener())  # type: ignore[no-untyped-call]  # Airflow's own

    def report_unseen(self, run: object) -> None:
        """Tell about the tasks Airflow ended without running them: skipped or upstream_failed."""
        for instance in run.get_task_instances():  # type: ignore[attr-defined]  # Airflow's ORM object
            if (instance.dag_id, instance.task_id, _index(instance)) not in self._seen:
                self._tell(instance, str(instance.state))

    def _tell(self, instance: _TaskInstance, state: str, error: str = "") -> None:
        self._seen.add((instance.dag_id, instance.task_id, _index(instance)))
        self._emit(
            {
                "event": "task",
                "dag": instance.dag_id,
                "task": instance.task_id,
                "map_index": _index(instance),
                "label": getattr(instance, "rendered_map_index", None) or "",
                "state": state.removeprefix("TaskInstanceState.").lower(),
                "error": error,
            }
        )


def _index(instance: _TaskInstance) -> int:
    return -1 if instance.map_index is None else instance.map_index


def last_line(text: str) -> str:
    """Return the last line that is not blank, or an empty string."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
