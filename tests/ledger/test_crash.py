"""The process that marks is killed: each mark is there as a whole or not at all, and row states follow later."""

from __future__ import annotations

import random

import pytest

from reverse_etl.ledger.ledger import Ledger
from tests.ledger.processes import started
from tests.ledger.samples import query, ref

ROWS = 300


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_in_the_middle_of_a_mark_leaves_whole_marks(sqlite_url: str, seed: int) -> None:
    waited = random.Random(seed)
    confirmed = 0
    for _ in range(2):
        with started([("mark", sqlite_url, 0, ROWS, -1)]) as [worker]:
            for _ in range(waited.randint(1, 8)):
                confirmed = max(confirmed, worker.heard() + 1)
            worker.kill()
        recorded = _whole_marks(sqlite_url)
        assert recorded >= confirmed
        confirmed = recorded
    with Ledger.open(sqlite_url) as ledger:
        attempt = ledger.begin(ref())
        found = attempt.confirmed(0)
        assert len(found) == confirmed * ROWS
        attempt.settle(0)
        assert len(ledger.states("page_views", list(found))) == confirmed * ROWS
    assert query(sqlite_url, "PRAGMA integrity_check") == [("ok",)]


def _whole_marks(url: str) -> int:
    [(outcomes,)] = query(url, "SELECT COUNT(*) FROM (SELECT DISTINCT row_key, call_kind FROM outcomes)")
    assert query(url, "SELECT COUNT(*) FROM quarantine") == [(outcomes // 2,)]
    marks, rest = divmod(outcomes, 2 * ROWS)
    assert rest == 0
    return int(marks)
