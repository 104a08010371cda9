"""The example of docs/write-a-sync.md on a database and the sandbox, and what docs/results.md says of its files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from reverse_etl.operators.export_csv import ExportCsvOperator
from reverse_etl.sync import Sync
from tests.conftest import ROOT
from tests.docs.conftest import SIGNUPS, Bash, Signups
from tests.docs.pages import block, codes, output_of, read, table
from tests.operators.conftest import default_destination

pytestmark = pytest.mark.integration


def test_the_good_day_delivers_its_two_trials(signups: Signups) -> None:
    assert signups.good.state == "success"
    assert signups.good.counts == {"read": 2, "delivered": 2}


def test_the_page_shows_the_users_that_arrive(signups: Signups) -> None:
    shown = [json.loads(line) for line in block("arrived").splitlines()]
    assert sorted(signups.users, key=lambda user: str(user["userId"])) == shown


def test_each_trial_has_its_event(signups: Signups) -> None:
    shown = {event["userId"]: (event["eventName"], event["createdAt"]) for event in signups.events}
    assert shown == {
        "501": ("trial_started", "2026-01-13 07:30:00 +00:00"),
        "502": ("trial_started", "2026-01-13 21:05:00 +00:00"),
    }
    fields = {event["userId"]: event["dataFields"] for event in signups.events}
    assert fields["501"] == {"trial_plan": "team", "ends_on": "2026-01-27 00:00:00 +00:00"}


def test_the_bad_day_delivers_the_rest_and_fails_the_run(signups: Signups) -> None:
    assert signups.bad.state == "failed"
    assert signups.bad.counts == {"read": 2, "delivered": 1, "invalid": 1}


def test_the_files_are_those_of_the_table(signups: Signups) -> None:
    named = {codes(cells[0])[0] for cells in table("docs/results.md", "file")}
    assert {signups.file(signups.good, kind).name for kind in ("csv", "json", "parquet")} == named


def test_the_json_has_the_fields_of_the_table(signups: Signups) -> None:
    result = orjson.loads(signups.file(signups.bad, "json").read_bytes())
    rows = {name: cells[1] for cells in table("docs/results.md", "field") for name in codes(cells[0])}
    assert set(rows) == {*result, "removals"}, "removals are those of a mirror"
    assert set(codes(rows["seconds"])) == set(result["seconds"])
    named = codes(rows["totals"])
    assert named == [name for name in result["totals"] if name in named]
    assert len(result["totals"]) == len(named) + 6
    assert set(codes(rows["reasons"])) == set(result["reasons"][0])
    delivered = next(record for record in result["records"] if record["outcome"] == "delivered")
    assert set(codes(rows["records"])) == {*delivered, *delivered["calls"]["user_update"]}
    assert result["problems"]


def test_the_counts_of_the_snippet_are_those_of_the_run(signups: Signups, bash: Bash) -> None:
    printed = bash(f"python docs/examples/read_results.py '{signups.file(signups.bad, 'parquet')}'")
    assert sorted(printed.splitlines()) == ["1 delivered delivered", "1 invalid email_malformed"]


def test_a_row_is_found_again_by_its_key(signups: Signups, bash: Bash) -> None:
    results = {"RESULTS": str(signups.file(signups.bad, "parquet"))}
    assert bash(block("find-row"), results) == output_of("find-row")


def test_another_hash_key_finds_nothing(signups: Signups, bash: Bash) -> None:
    changed = {
        "RESULTS": str(signups.file(signups.bad, "parquet")),
        "AIRFLOW__REVERSE_ETL__HASH_KEY": "another key of the hash",
    }
    assert bash(block("find-row"), changed, fails=True) == ""


def test_the_batches_of_another_run_are_noticed(signups: Signups, bash: Bash) -> None:
    places = {
        "RESULTS": str(signups.file(signups.bad, "parquet")),
        "BATCHES": str(signups.batches(signups.good)),
    }
    assert bash(block("undelivered"), places, fails=True) == "1 rows were not delivered\n"


def test_the_hash_key_of_make_run_is_found(bash: Bash, tmp_path: Path) -> None:
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local/secrets.json").write_text(json.dumps({"hash_key": "the key of the folder"}))
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    script = f'cd "{tmp_path}"\n{block("hash-key")}\necho "$AIRFLOW__REVERSE_ETL__HASH_KEY"'
    assert bash(script) == "the key of the folder\n"


def test_the_keys_of_undelivered_rows_are_found(signups: Signups, bash: Bash) -> None:
    places = {
        "RESULTS": str(signups.file(signups.bad, "parquet")),
        "BATCHES": str(signups.batches(signups.bad)),
    }
    assert bash(block("undelivered"), places) == output_of("undelivered")


def test_the_batches_lie_where_the_page_says(signups: Signups) -> None:
    assert "`<staging_path>/<dag>/<run>/<sync>/`" in " ".join(read("docs/results.md").split())
    folder = signups.batches(signups.bad)
    assert folder.parent.parent == signups.staging / "trial_signups"
    assert pq.read_table(folder / "batch-00000.parquet").num_rows == 2


def test_the_export_without_neutralising_is_an_operator(metadata: None) -> None:
    from airflow.sdk import DAG

    sync = Sync("page", SIGNUPS / "trial_signups.sql", ("trial_id",), default_destination())
    names: dict[str, Any] = {"ExportCsvOperator": ExportCsvOperator, "SYNC": sync}
    with DAG("as_on_the_page", schedule=None):
        exec(block("neutralise"), names)
    assert names["export_csv"].neutralise is False


def test_the_example_is_tried_in_a_project_folder_as_the_page_says(tmp_path: Path) -> None:
    for name in ("plugins", "include", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "dags").mkdir()
    shell = f"""
    make() {{ case "$1 ${{2%%=*}}" in
        "load FILE") {sys.executable} -m devstack.load --file "${{2#FILE=}}" ;;
        "run DAG") {sys.executable} -m devstack.run --dag "${{2#DAG=}}" ;;
        *) false ;;
    esac; }}
    """
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shell + block("try-signups")],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "schema.sql was run on the private database" in done.stdout
    assert "trial_signups for 2026-01-13: success" in done.stdout
    assert "2          2          0" in done.stdout
