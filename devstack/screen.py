"""What make run shows: a line per task, then a table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TextIO

OUTCOMES = ("delivered", "unchanged", "invalid", "rejected", "suppressed", "failed")
_WORDS = {"success": "done", "up_for_retry": "failed, will be tried again", "upstream_failed": "not run"}


class TaskLines:
    """Writes a line when a task ends; on a terminal also while it runs, to be replaced by the final one."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._started: dict[tuple[object, object], float] = {}
        self._open = False

    def show(self, event: Mapping[str, object]) -> None:
        """Show a `task` event of devstack.dag_run."""
        key = (event["task"], event["map_index"])
        name = task_name(event)
        state = str(event["state"])
        if state == "running":
            self._started[key] = time.monotonic()
            if self._out.isatty():
                self._write(f"  {name:<32} running")
                self._open = True
            return
        started = self._started.pop(key, None)
        duration = f"{time.monotonic() - started:7.1f} s" if started is not None else " " * 9
        error = f"  {event['error']}" if event["error"] else ""
        self._write(f"  {name:<32}{duration}  {_WORDS.get(state, state)}{error}")
        self._finish()

    def say(self, text: str) -> None:
        """Show a line of text."""
        self._write(text)
        self._finish()

    def _write(self, text: str) -> None:
        self._out.write(f"\r\x1b[K{text}" if self._open else text)
        self._out.flush()

    def _finish(self) -> None:
        self._out.write("\n")
        self._out.flush()
        self._open = False


def task_name(event: Mapping[str, object]) -> str:
    """Return a task as people read it: its id and, when mapped, its label or index."""
    if event["map_index"] == -1:
        return str(event["task"])
    return f"{event['task']} [{event['label'] or event['map_index']}]"


def table(totals: Mapping[str, object], seconds: float) -> list[str]:
    """Return a header line and a line of numbers: what was read, its six outcomes, and the seconds."""
    cells = [(name, str(totals.get(name, "?"))) for name in ("read", *OUTCOMES)]
    cells.append(("seconds", f"{seconds:.1f}"))
    widths = [max(len(name), len(value)) for name, value in cells]
    return [_row([name for name, _ in cells], widths), _row([value for _, value in cells], widths)]


def _row(values: Sequence[str], widths: Sequence[int]) -> str:
    return "  " + "  ".join(value.rjust(width) for value, width in zip(values, widths, strict=True))
