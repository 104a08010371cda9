"""What Airflow offers by itself: an HttpOperator mapped over the rows, for the update and then for the event."""

from __future__ import annotations

import json

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.mysql.hooks.mysql import MySqlHook
from airflow.sdk import DAG, get_current_context, task

from benchmarks.script import event, read, update

with DAG(dag_id="http_per_row", schedule=None, params={"rows": 30}):

    @task
    def calls() -> list[dict[str, str]]:
        found = read(MySqlHook().get_conn(), get_current_context()["params"]["rows"])
        return [{"update": json.dumps(update(row)), "event": json.dumps(event(row))} for row in found]

    rows = calls()
    updates = HttpOperator.partial(task_id="update", endpoint="/api/users/update").expand(
        data=rows.map(lambda row: row["update"])
    )
    events = HttpOperator.partial(task_id="track", endpoint="/api/events/track").expand(
        data=rows.map(lambda row: row["event"])
    )
    updates >> events
