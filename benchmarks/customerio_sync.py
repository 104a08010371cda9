"""The Customer.io sync that is measured: the mapping of the DAG customerio_page_views over the generated rows."""

from __future__ import annotations

from benchmarks.rows import QUERY
from reverse_etl.customerio.config import CustomerIODestination, Identify, Track
from reverse_etl.mapping import Constant, Field
from reverse_etl.sync import Sync

API_KEY = "sandbox-customerio-key"

DESTINATION = CustomerIODestination(
    user_id="user_id",
    identify=Identify(
        fields=(
            Field("email"),
            Field("first_name"),
            Field("last_name"),
            Field("plan_type"),
            Field("candidate", kind="boolean"),
            Constant("recent_page_view", value=True),
        )
    ),
    track=Track(
        event="page_view",
        timestamp="event_time",
        fields=(
            Field("page"),
            Field("device"),
            Field("browser"),
            Field("location"),
            Field("candidate", kind="boolean"),
        ),
    ),
)
SYNC = Sync(name="benchmark", query=QUERY, key=("page_view_id",), destination=DESTINATION)
