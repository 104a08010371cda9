"""What a check before the first row finds: values that are shown as a table, and of which errors fail the check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a finding counts: an error fails the check, a warning and what is fine are only told."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and what was found; neither holds a value of a row."""

    level: Level
    what: str
    said: str

    def as_row(self) -> tuple[str, str, str]:
        """Return the cells of a table."""
        return (self.level.value, self.what, self.said)


HEADER = ("result", "what", "found")


def ok(what: str, said: str) -> Finding:
    """Return a finding that nothing is wrong with."""
    return Finding(Level.OK, what, said)


def warning(what: str, said: str) -> Finding:
    """Return a finding that somebody should know of."""
    return Finding(Level.WARNING, what, said)


def error(what: str, said: str) -> Finding:
    """Return a finding that makes a run useless."""
    return Finding(Level.ERROR, what, said)


def errors_of(findings: Iterable[Finding]) -> list[Finding]:
    """Return those that fail the check."""
    return [finding for finding in findings if finding.level is Level.ERROR]
