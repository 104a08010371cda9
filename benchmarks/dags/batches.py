"""Our operators: batches of rows, one deliver task per batch, and the report, which ends the turn of the run."""

from __future__ import annotations

from airflow.sdk import DAG, chain

from benchmarks.sync import SYNC
from reverse_etl.operators.deliver import DeliverOperator
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.params import sync_params
from reverse_etl.operators.report import ReportOperator

with DAG(dag_id="batches", schedule=None, params=sync_params()):
    extract = ExtractOperator(task_id="extract", sync=SYNC)
    deliver = DeliverOperator.over(extract.output, task_id="deliver", sync=SYNC)
    chain(deliver, ReportOperator(task_id="report", sync=SYNC))
