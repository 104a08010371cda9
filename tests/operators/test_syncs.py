"""Syncs are found in DAG files, and named when they cannot be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.operators.syncs import dags_folder, find_sync, find_syncs
from tests.conftest import ROOT
from tests.operators.dag_files import write_dag

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("airflow")]


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    write_dag(tmp_path / "dags")
    return tmp_path / "dags"


def test_an_unknown_sync_is_refused_with_those_there_are(dags: Path) -> None:
    write_dag(dags, "signups")
    with pytest.raises(ConfigurationError, match="no DAG has a sync named 'view'; there are signups, views$"):
        find_sync("view", dags)


def test_a_folder_without_syncs_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there are none$"):
        find_sync("views", tmp_path)


def test_a_dag_file_that_cannot_be_imported_is_named(dags: Path) -> None:
    (dags / "broken.py").write_text("from airflow.sdk import DAG\nimport reverse_etl.no_such_module\n")
    with pytest.raises(ConfigurationError, match=r"there are views; .*broken\.py could not be imported"):
        find_sync("signups", dags)
    assert find_sync("views", dags).name == "views"


def test_two_syncs_of_one_name_are_refused(dags: Path, tmp_path: Path) -> None:
    write_dag(dags, dag_id="views_again")
    assert find_sync("views", dags).name == "views"
    write_dag(dags, key=("view_id", "page"), dag_id="other_views")
    with pytest.raises(ConfigurationError, match="2 different syncs are named 'views' .*; give each its own name"):
        find_sync("views", dags)


def test_files_that_do_not_name_the_package_are_not_imported(dags: Path) -> None:
    (dags / "unrelated.py").write_text("from airflow.sdk import DAG\nraise SystemExit('imported')\n")
    assert find_syncs(dags).unread == []


def test_ignored_files_are_not_imported(dags: Path) -> None:
    (dags / ".airflowignore").write_text("old/\n")
    (dags / "old").mkdir()
    (dags / "old" / "views.py").write_text("from airflow.sdk import DAG\nimport reverse_etl.no_such_module\n")
    assert find_syncs(dags).unread == []


def test_the_syncs_of_the_project_are_found() -> None:
    assert find_syncs(ROOT / "dags").one("iterable_page_views").key == ("page_view_id",)


def test_a_task_looks_in_the_bundle_of_its_dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "configured"))
    task = SimpleNamespace(bundle_instance=SimpleNamespace(path=tmp_path / "bundle"))
    assert dags_folder({"ti": task}) == tmp_path / "bundle"
    assert dags_folder({"ti": SimpleNamespace()}) == dags_folder() == tmp_path / "configured"
