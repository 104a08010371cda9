"""The DAG of a source in the live Airflow, for the DAG files that `live.started` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.reliability.syncs import make_dag, make_sync

CONNECTION = "reliability"


def live_dag(query: Path) -> Any:
    """Return the DAG of the query's source, which sends call by call and is tried again without a wait."""
    return make_dag(make_sync(query.stem, query, "single", conn_id=CONNECTION), retries=40)
