from __future__ import annotations

from datetime import date

import pytest

from devstack.dates import parse_day


@pytest.mark.parametrize("text", ["", "yesterday", "2026-1-13", "20260113", "2026-02-30", "13.01.2026", "2026-01-13\n"])
def test_refuses_what_is_not_a_day(text: str) -> None:
    with pytest.raises(ValueError, match="DATE="):
        parse_day(text)


def test_reads_a_day() -> None:
    assert parse_day("2026-01-13") == date(2026, 1, 13)
