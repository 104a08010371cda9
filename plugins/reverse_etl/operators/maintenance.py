"""The task of the DAG that forgets what is old."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Param

from reverse_etl.operators.base import RETRY_POLICY, refuse_unknown_params
from reverse_etl.operators.purge import purge_old


def purge_params(*, older_than_days: int = 90) -> dict[str, Param]:
    """Return the params `PurgeOperator` reads, with this default."""
    return {
        "older_than_days": Param(
            older_than_days,
            type="integer",
            minimum=1,
            title="Older than",
            description="Days after which outcomes, quarantined calls and staged rows are removed.",
        ),
        "states_older_than_days": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="States older than",
            description="Days after which what was last delivered is forgotten; then it counts as new. Empty: never.",
        ),
    }


class PurgeOperator(BaseOperator):
    """Removes what is old from the ledger and the staging folder; returns the counts."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        super().__init__(**kwargs)

    def execute(self, context: Any) -> dict[str, int]:
        """Purge; raises LedgerUnavailable, StagingError or ConfigurationError."""
        refuse_unknown_params(context)
        params = context["params"]
        states = params["states_older_than_days"]
        purged = purge_old(timedelta(days=params["older_than_days"]), timedelta(days=states) if states else None)
        counts = {
            "runs": purged.ledger.runs,
            "outcomes": purged.ledger.outcomes,
            "row_states": purged.ledger.row_states,
            "quarantine": purged.ledger.quarantine,
            "run_folders": purged.run_folders,
        }
        self.log.info("Removed %s", ", ".join(f"{name} {count}" for name, count in counts.items()))
        return counts
