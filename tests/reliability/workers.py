"""Run as a program: one of several processes that deliver at once. See `started` for how they are begun together.

dag NAME QUERY CALLS BATCH_ROWS   run the DAG of a sync by `dag.test`; say its run id, state, and the report's result
batch NAME QUERY CALLS BATCH RESULTS   deliver one batch (JSON of its reference) of one attempt; say the row results
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def main() -> None:
    what, *arguments = sys.argv[1:]
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Airflow's own output
    WORK[what](lambda value: print(json.dumps(value), file=told, flush=True), *arguments)


def run_dag(say: Any, name: str, query: str, calls: Any, batch_rows: str) -> None:
    from tests.reliability.source import DAY
    from tests.reliability.syncs import make_dag, make_sync, pushed_result, register

    dag = make_dag(make_sync(name, Path(query), calls), retries=1)
    register(dag)
    say("ready")
    sys.stdin.readline()
    run = dag.test(run_conf={"date": DAY, "batch_rows": int(batch_rows)})
    say({"run": run.run_id, "state": str(run.state), "result": pushed_result(run)})


def deliver_one_batch(say: Any, name: str, query: str, calls: Any, batch: str, results: str) -> None:
    from tests.reliability.batches import deliver

    say("ready")
    sys.stdin.readline()
    ended = deliver(name, Path(query), calls, json.loads(batch), results)
    say({"stopped": repr(ended.stopped) if ended.stopped else "", "totals": ended.totals, "resumed": ended.resumed})


@contextmanager
def started(
    commands: Sequence[Sequence[object]], environments: Sequence[Mapping[str, str]]
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a process per command, let all begin at once, and leave none behind."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")])
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.workers", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
        for command, environment in zip(commands, environments, strict=True)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == '"ready"\n', "a worker ended before it began"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def told(processes: Sequence[subprocess.Popen[str]], *, within: float) -> list[dict[str, Any]]:
    """Return what each process said at its end; all must end well."""
    said = [process.communicate(timeout=within)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [json.loads(lines.splitlines()[-1]) for lines in said]


WORK = {"dag": run_dag, "batch": deliver_one_batch}

if __name__ == "__main__":
    main()
