"""Starting several processes of `workers.py` at the same moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from tests.ledger.workers import main

# A process of its own for each worker, forked from one that has imported everything and done nothing.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.ledger.workers", "tests.ledger.test_watermarks"])

READY_WITHIN_SECONDS = 60


class Worker:
    """A process that waits for `go`, and the values it says."""

    def __init__(self, *command: object) -> None:
        self._ours, theirs = CONTEXT.Pipe()
        self.process: BaseProcess = CONTEXT.Process(target=main, args=(theirs, *command))
        self.process.start()
        theirs.close()

    def go(self) -> None:
        self._ours.send("go")

    def heard(self) -> Any:
        """Wait for the next value; raise EOFError when the process has ended."""
        assert self._ours.poll(READY_WITHIN_SECONDS), "the worker says nothing"
        return self._ours.recv()

    def rest(self) -> Iterator[Any]:
        """Yield the values until the process ends."""
        while True:
            try:
                yield self.heard()
            except EOFError:
                return

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self._ours.close()


@contextmanager
def started(commands: Sequence[Sequence[object]]) -> Iterator[list[Worker]]:
    """Start a process per command, let all begin at once, and leave none behind."""
    workers = [Worker(*command) for command in commands]
    try:
        for worker in workers:
            assert worker.heard() == "ready"
        for worker in workers:
            worker.go()
        yield workers
    finally:
        for worker in workers:
            worker.kill()


def results(commands: Sequence[Sequence[object]]) -> list[list[Any]]:
    """Return what each process said; all must end well."""
    with started(commands) as workers:
        said = [list(worker.rest()) for worker in workers]
        for worker in workers:
            worker.process.join(READY_WITHIN_SECONDS)
        assert [worker.process.exitcode for worker in workers] == [0] * len(workers)
    return said
