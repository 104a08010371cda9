"""Our operators: batches of rows, and one deliver task per batch."""

from __future__ import annotations

from airflow.sdk import DAG

from benchmarks.sync import SYNC
from reverse_etl.operators.deliver import DeliverOperator
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.params import sync_params

with DAG(dag_id="batches", schedule=None, params=sync_params()):
    batches = ExtractOperator(task_id="extract", sync=SYNC)
    DeliverOperator.over(batches.output, task_id="deliver", sync=SYNC)
