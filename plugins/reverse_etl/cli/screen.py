"""Plain text on a terminal: tables, JSON, lines on stderr, a question."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

import orjson

from reverse_etl.errors import ConfigurationError


class Screen:
    """Answers go to `out`; progress and errors to `err`."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err

    def say(self, line: str) -> None:
        """Write a line of the answer."""
        self._out.write(f"{line}\n")

    def complain(self, message: str) -> None:
        """Write an error, as one line."""
        self._err.write(f"reverse-etl: {' '.join(message.split())}\n")

    def info(self, event: str, *args: Any) -> None:  # noqa: ANN401 - as loggers have it
        """Write a line of progress."""
        self._err.write(f"{event % args if args else event}\n")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write rows below their header, numbers to the right."""
        texts = [[_text(value) for value in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
        numbers = [bool(rows) and all(isinstance(row[place], int) for row in rows) for place in range(len(header))]
        for line in (header, *texts):
            cells = [
                text.rjust(width) if number else text.ljust(width)
                for text, width, number in zip(line, widths, numbers, strict=True)
            ]
            self.say("  ".join(cells).rstrip())

    def json(self, value: object) -> None:
        """Write a value as JSON."""
        self.say(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())

    def confirm(self, question: str) -> bool:
        """Ask for a y on the terminal; raise ConfigurationError when there is none."""
        self.check_terminal()
        self._err.write(f"{question} [y/N] ")
        self._err.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def check_terminal(self) -> None:
        """Raise ConfigurationError when there is no terminal to ask on."""
        if not sys.stdin.isatty():
            raise ConfigurationError("there is no terminal to ask on; add --yes to go on without a question")


def _text(value: object) -> str:
    return "-" if value in (None, "") else str(value)
