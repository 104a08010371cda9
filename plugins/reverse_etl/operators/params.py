"""The params of a sync's DAG: the trigger form and its validation."""

from __future__ import annotations

from airflow.sdk import Param

from reverse_etl.operators.base import AS_THE_SYNC_SAYS
from reverse_etl.run_day import LONGEST_WINDOW_DAYS
from reverse_etl.sync import SEND


def sync_params(*, window_days: int = 7, batch_rows: int = 50_000) -> dict[str, Param]:
    """Return the params the operators read, with these defaults."""
    return {
        "date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Date",
            description="The UTC day to handle. Empty: the day that just ended.",
        ),
        "window_days": Param(
            window_days,
            type="integer",
            minimum=1,
            maximum=LONGEST_WINDOW_DAYS,
            title="Window",
            description="Days of source rows to look at, ending with the end of the day.",
        ),
        "row_limit": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Row limit",
            description="For trying out: read at most this many rows. Empty: all.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Find out what the run would do, and send nothing.",
        ),
        "send": Param(
            AS_THE_SYNC_SAYS,
            type="string",
            enum=[AS_THE_SYNC_SAYS, *SEND],
            title="Send",
            description="All rows, or only those that changed since they were last delivered.",
        ),
        "batch_rows": Param(
            batch_rows,
            type="integer",
            minimum=1,
            maximum=1_000_000,
            title="Batch size",
            description=(
                "Rows of one batch, which is one deliver task: 50,000 are 10 seconds of work in bulk and under "
                "two minutes call by call. A result may have up to 1,000 batches."
            ),
        ),
    }
