"""The sync that is measured: the mapping of the DAG iterable_page_views over the generated rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks import customerio_sync
from benchmarks.rows import QUERY
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.mapping import Constant, Field, Kind
from reverse_etl.sync import Sync

DESTINATION = IterableDestination(
    email="email",
    calls="single",
    user=UserUpdate(
        fields=(
            Field("first_name"),
            Field("last_name"),
            Field("plan_type"),
            Field("candidate", kind=Kind.BOOLEAN),
            Constant("recent_page_view", value=True),
        )
    ),
    event=EventTrack(
        name="page_view",
        created_at="event_time",
        fields=(
            Field("page"),
            Field("device"),
            Field("browser"),
            Field("location"),
            Field("candidate", kind=Kind.BOOLEAN),
            Field("timestamp", column="event_time"),
        ),
    ),
)
SYNC = Sync(name="benchmark", query=QUERY, key=("page_view_id",), destination=DESTINATION)
BULK = "bulk"
CUSTOMERIO = "customerio"


def sync(arguments: Sequence[str]) -> Sync:
    """Return the sync call by call, or in bulk or for Customer.io when the arguments of the process say so."""
    if CUSTOMERIO in arguments:
        return customerio_sync.SYNC
    return replace(SYNC, destination=replace(DESTINATION, calls="bulk")) if BULK in arguments else SYNC
