"""How pytest-xdist shares the tests out: a file to a process, files that need the same servers to the same one."""

from __future__ import annotations

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

TOGETHER = {
    "tests/integration/test_live_airflow.py": "a live Airflow",
    "tests/integration/test_personal_data.py": "a live Airflow",
    "tests/docs/test_commands.py": "the REST API",
    "tests/docs/test_quarantine.py": "the REST API",
    "tests/reliability/test_kills.py": "killed tasks",
    "tests/reliability/test_mirror.py": "killed tasks",
}
"""Files that share what takes long to start, or would slow each other down with an Airflow each."""

LONGEST_FIRST = (
    "tests/reliability/test_kills.py",
    "tests/reliability/test_mirror.py",
    "tests/reliability/test_faults.py",
    "tests/reliability/test_parallel.py",
    "tests/reliability/test_checker.py",  # a short one: the process of the two tests of the first file gets it at once
    "tests/integration/test_live_airflow.py",
    "tests/integration/test_personal_data.py",
    "tests/docs/test_quarantine.py",
    "tests/docs/test_commands.py",
    "tests/devstack/test_run.py",
    "tests/integration/test_make_reverse_etl.py",
    "tests/ledger/test_mirror_histories.py",
    "tests/ledger/test_histories.py",
    "tests/operators/test_mirror.py",
    "tests/operators/test_bad_days.py",
    "tests/operators/test_replay.py",
    "tests/operators/test_incremental.py",
    "tests/integration/test_make_run.py",
)
"""Begun last, one of these would keep a process busy for a minute after the others have finished."""


class BySharedServers(LoadFileScheduling):
    """Hands out whole files, in the order they were collected in; see TOGETHER."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return TOGETHER.get(file, file)


def longest_first(item: pytest.Item) -> int:
    """Sort the long files before all others, which keep their order."""
    file = item.nodeid.partition("::")[0]
    return LONGEST_FIRST.index(file) if file in LONGEST_FIRST else len(LONGEST_FIRST)
