"""The commands of docs/forget.md, run as they stand over a run of the example sync."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reverse_etl.sandbox.testing import SandboxServer
from tests.conftest import ROOT
from tests.docs.conftest import Run
from tests.docs.pages import block, code, read, table
from tests.docs.test_quarantine import bad_day, command

__all__ = ["bad_day", "command"]

pytestmark = pytest.mark.integration

LENA = "LENA.Vogel@example.org"


@pytest.fixture
def people(platform: SandboxServer, tmp_path: Path) -> Iterator[Callable[[], set[str]]]:
    """A file with Lena; a function that gives the lower-case e-mails the platform holds."""
    (tmp_path / "identifiers.txt").write_text(f"{LENA}\n")
    yield lambda: {str(user.get("email")).lower() for user in platform.users()}
    # Other tests of the session deliver the same people.
    platform.reset()


def exported(tmp_path: Path) -> str:
    [export] = (tmp_path / "output").rglob("query_results_*.csv")
    return export.read_text().lower()


def test_the_dry_run_forgets_nobody(command: Run, people: Callable[[], set[str]], tmp_path: Path) -> None:
    written = command(f'cd "{tmp_path}"\n{block("forget-dry-run")}')
    assert written.split() == ["connection", "people", "iterable_default", "1"]
    assert LENA.lower() in people()


def test_people_from_standard_input_are_forgotten(command: Run, people: Callable[[], set[str]], tmp_path: Path) -> None:
    assert LENA.lower() in exported(tmp_path)
    assert "delivered" in command(f'cd "{tmp_path}"\n{block("forget-stdin")}')
    assert LENA.lower() not in people()
    assert LENA.lower() not in exported(tmp_path)


def test_people_of_a_query_are_forgotten(
    command: Run, bad_day: Callable[[str], None], people: Callable[[], set[str]]
) -> None:
    bad_day("CREATE TABLE forget_requests (email VARCHAR(254))")
    bad_day(f"INSERT INTO forget_requests VALUES ('{LENA}')")
    assert "delivered" in command(block("forget-query"))
    assert LENA.lower() not in people()


def test_the_options_and_params_of_the_page_are_there(metadata: None) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from reverse_etl.cli.arguments import _parser

    options = [code(cells[0]) for cells in table("docs/forget.md", "option")]
    parsed = _parser().parse_args(["forget", *(word for name in options for word in (name, "forget"))])
    assert (parsed.action, parsed.conn, parsed.job) == ("forget", ["forget"], "forget")
    dag = DagBag(str(ROOT / "dags/forget_people.py")).dags["forget_people"]
    assert [name for name in dag.params if f"`{name}`" in read("docs/forget.md")] == list(dag.params)
