"""Whole runs over several batches and syncs: what they share, and what they must not share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.operators.deliver import DeliverOperator
from reverse_etl.operators.export_csv import ExportCsvOperator
from reverse_etl.operators.extract import ExtractOperator
from reverse_etl.operators.params import sync_params
from reverse_etl.operators.report import ReportOperator
from reverse_etl.sandbox.testing import SandboxServer
from reverse_etl.sync import Sync
from tests.operators.conftest import QUERY, Finished, default_destination, local, register
from tests.operators.test_bad_days import add_many, views

__all__ = ["views"]

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Shop = Callable[..., list[tuple[Any, ...]]]


def test_a_wrong_key_costs_one_request_however_many_batches_there_are(
    run_sync: Run, connections: Callable[..., None], shop: Shop, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    add_many(shop, 50)
    connections(password="no-such-key")
    finished = run_sync(batch_rows=5)
    assert finished.state == "failed"
    assert sandbox.stats()["requests_total"] == 1
    assert finished.counts == {"read": 50, "failed": 50}


def test_two_syncs_in_one_run_keep_their_rows_apart(
    connections: Callable[..., None], shop: Shop, views: Callable[..., None], sandbox: SandboxServer, tmp_path: Path
) -> None:
    from airflow.sdk import DAG, chain

    add_many(shop, 6)
    with DAG("two_syncs", schedule=None, start_date=datetime(2020, 1, 1, tzinfo=UTC), params=sync_params()) as dag:
        for name, condition in (("one", "id <= 3"), ("other", "id > 3")):
            path = tmp_path / f"{name}.sql"
            path.write_text(QUERY.replace("WHERE", f"WHERE {condition} AND"))
            sync = Sync(name=name, query=path, key=("view_id",), destination=default_destination())
            extract = ExtractOperator(task_id=f"extract_{name}", sync=sync)
            export = ExportCsvOperator(task_id=f"export_{name}", sync=sync, extract_task_id=extract.task_id)
            deliver = DeliverOperator.over(extract.output, task_id=f"deliver_{name}", sync=sync)
            report = ReportOperator(
                task_id=f"report_{name}",
                sync=sync,
                extract_task_id=extract.task_id,
                export_task_id=export.task_id,
                deliver_task_id=f"deliver_{name}",
            )
            chain(extract, [export, deliver], report)
    register(dag)
    finished = Finished(dag.test(run_conf={"date": "2026-01-13"}), tmp_path / "output")
    assert finished.state == "success"
    assert len(sandbox.events()) == 6


@pytest.mark.parametrize(
    ("query", "key", "said"),
    [
        (QUERY, "page", "3 rows have the key of another row"),
        (QUERY.replace("id AS view_id", "NULLIF(id, 2) AS view_id"), "view_id", "1 rows have NULL in it"),
    ],
)
def test_a_key_that_does_not_name_one_row_is_refused_before_anything_is_sent(
    run_sync: Run,
    shop: Shop,
    views: Callable[..., None],
    sandbox: SandboxServer,
    capsys: pytest.CaptureFixture[str],
    query: str,
    key: str,
    said: str,
) -> None:
    add_many(shop, 4)
    finished = run_sync(query, key=key)
    assert finished.states("extract") == ["failed"]
    assert finished.tries("extract") == 1
    assert said in capsys.readouterr().out
    assert sandbox.stats()["requests_total"] == 0
    assert finished.state == "failed"


def test_keys_are_different_where_the_collation_of_the_database_calls_them_equal(
    run_sync: Run, shop: Shop, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    for name in ("a", "A", "\u00e4"):
        shop("INSERT INTO views (email, first_name, candidate, page, event_time) VALUES (%s, %s, 1, 'pricing', %s)",
            f"p{ord(name)}@example.com", name, "2026-01-13 08:00:00")  # fmt: skip
    assert shop("SELECT COUNT(DISTINCT first_name) FROM views") == [(1,)]
    finished = run_sync(key="first_name")
    assert finished.state == "success"
    assert len(sandbox.events()) == 3


@pytest.mark.parametrize(("batch_rows", "warned"), [(2, True), (4, False)])
def test_a_person_with_rows_in_several_batches_is_warned_of(
    run_sync: Run, views: Callable[..., None], capsys: pytest.CaptureFixture[str], batch_rows: int, warned: bool
) -> None:
    for email in ("ada@example.com", "ben@example.com", "Ada@example.com"):
        views(email)
    finished = run_sync(batch_rows=batch_rows)
    assert finished.state == "success"
    assert ("1 rows are about people who have a row in an earlier batch" in capsys.readouterr().out) is warned


def test_a_trial_with_few_rows_does_not_replace_the_files_of_the_day(
    run_sync: Run, shop: Shop, views: Callable[..., None]
) -> None:
    add_many(shop, 4)
    whole, trial = run_sync(), run_sync(row_limit=1)
    assert trial.result["csv"] != whole.result["csv"]
    assert len(local(whole.result["csv"]).read_text().splitlines()) == 5


def test_a_platform_that_asks_for_an_hour_stops_the_batch_at_once(
    run_sync: Run, shop: Shop, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    """Airflow would wait for the hour before its retry, so there is none here."""
    add_many(shop, 300)
    fault = {"kind": "status", "status": 429, "headers": {"Retry-After": "3600"}, "times": 1, "after": 20}
    sandbox.faults([fault])
    finished = run_sync(retries=0)
    assert finished.state == "failed"
    assert finished.counts["failed"] + finished.counts["delivered"] == 300
    assert finished.result["problems"][0].startswith("batch 0 stopped: the platform asks for a longer wait")


def test_cells_of_64_kilobytes_come_in_smaller_batches(
    run_sync: Run, shop: Shop, views: Callable[..., None], sandbox: SandboxServer
) -> None:
    sandbox.settings(store="counts")
    shop(
        "INSERT INTO views (email, first_name, candidate, page, event_time) SELECT CONCAT('p', seq, '@example.com'),"
        " REPEAT('x', 65536), 1, 'pricing', '2026-01-13 08:00:00' FROM seq_1_to_1500"
    )
    finished = run_sync()
    assert finished.counts == {"read": 1500, "delivered": 1500}
    assert len(finished.states("deliver")) == 2
