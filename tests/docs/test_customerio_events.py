"""The table of semantic events is what the classes say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reverse_etl.customerio.limits import Endpoint
from reverse_etl.customerio.semantic import FAMILIES, events
from reverse_etl.customerio.semantic.record import Place, places
from tests.conftest import ROOT
from tests.docs.pages import code, codes, table

PAGE = "docs/customerio-events.md"


def shown(place: Place) -> str:
    name = f"**`{place.name}`**" if place.required else f"`{place.name}`"
    where = ".".join(place.path)
    return name if where == f"properties.{place.name}" else f"{name} (`{where}`)"


def test_every_event_is_in_the_table_as_its_class_has_it() -> None:
    assert table(PAGE, "event") == [
        [
            f"`{kind.event}`",
            f"`{family.__name__.rsplit('.', 1)[1]}.{kind.__name__}`",
            ", ".join(map(shown, places(kind))) or "none",
            "`userId`" if kind.needs_user_id else "any id",
        ]
        for family in FAMILIES
        for kind in events(family)
    ]


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """The ids of the tests in the files that the page names."""
    named = [code(cells[0]) for cells in table(PAGE, "test of an event")]
    named += [test for cells in table(PAGE, "endpoint") for test in codes(cells[2])]
    files = sorted({test.split("::")[0] for test in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def test_every_event_is_a_case_of_every_test_that_the_page_names(collected: set[str]) -> None:
    cases = {
        f"{code(cells[0])}[{kind.event}]"
        for cells in table(PAGE, "test of an event")
        for family in FAMILIES
        for kind in events(family)
    }
    assert cases - collected == set()


def test_every_endpoint_has_its_method_and_tests(collected: set[str]) -> None:
    rows = table(PAGE, "endpoint")
    assert {code(cells[0]) for cells in rows} == set(Endpoint)
    assert all(f"/v1/{code(cells[1])}" == code(cells[0]) for cells in rows)
    assert {test for cells in rows for test in codes(cells[2])} - collected == set()
