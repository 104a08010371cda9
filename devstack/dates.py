"""The DATE of make run; only the standard library, because bootstrap.sh calls it before .venv exists."""

from __future__ import annotations

import re
import sys
from datetime import date


def parse_day(text: str) -> date:
    """Return the day written as YYYY-MM-DD; raise ValueError for anything else."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"DATE={text} is not a day of the calendar: {error}") from error
    raise ValueError(f"DATE={text!r} is not a date: write it as YYYY-MM-DD, for example DATE=2026-01-13")


if __name__ == "__main__":
    try:
        parse_day(sys.argv[1])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
