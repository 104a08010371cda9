"""The README shows what `make run` prints and the tasks the DAG has."""

from __future__ import annotations

import re

import pytest

from devstack.run import DAGS
from devstack.screen import table
from tests.conftest import ROOT
from tests.docs.pages import block_that_begins, page_names, read

ON_SCREEN = "iterable_page_views for "
DRAWING = "check --> MySQL --extract--> "

pytestmark = pytest.mark.skipif(DRAWING not in read("README.md"), reason="the README has no picture of the tasks")


def test_the_tables_of_a_run_are_those_make_run_prints() -> None:
    lines = block_that_begins(ON_SCREEN).splitlines()
    headers = [number for number, line in enumerate(lines) if line.strip().startswith("read ")]
    assert len(headers) == len(DAGS)
    for position in headers:
        header, numbers = lines[position : position + 2]
        values = dict(zip(header.split(), numbers.split(), strict=True))
        seconds = float(values.pop("seconds"))
        assert [header, numbers] == table(values, seconds)
        assert int(values.pop("read")) == sum(map(int, values.values()))


def test_the_files_of_a_run_are_named_as_runs_name_them() -> None:
    shown = re.findall(r"/(\w+)/(\w+?)_(\d{8}_\d{6})\.(\w+)$", block_that_begins(ON_SCREEN), re.MULTILINE)
    kinds = [("query_results", "csv"), ("integration_results", "json"), ("integration_results", "parquet")]
    assert shown == [(dag, name, "20260113_235959", ending) for dag in DAGS for name, ending in kinds]


def test_the_drawing_names_the_tasks_of_the_dag() -> None:
    dag = (ROOT / "dags/iterable_page_views.py").read_text(encoding="utf-8")
    drawing = block_that_begins(DRAWING)
    tasks = re.findall(r'task_id="(\w+)"', dag)
    assert tasks == ["check", "extract", "export_csv", "deliver", "report"]
    assert all(re.search(rf"\b{task}\b", drawing) for task in tasks)


def test_the_readme_leads_to_every_page_for_users() -> None:
    pages = [page for page in page_names() if page.count("/") == 1 and not page.endswith("README.md")]
    assert [page for page in pages if f"({page})" not in read("README.md")] == []
