"""The notebooks run from a clean kernel in any folder, and docs/notebooks.md shows what they show."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from devstack.notebooks import FOLDER, IMAGES, MADE_FROM_HERE, PAGE, executed, notebooks, section
from reverse_etl.notebooks.demo import write_demo
from tests.notebooks.conftest import environment

# Jupyter's client leaves its event loop and sockets to the garbage collector.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect it here, or it is told of beside whichever test comes later."""
    yield
    gc.collect()


Finished = Mapping[str, Future[Any]]

SHOWN = {
    "00_setup": ["a sandbox of Customer.io in this process", "HTTP 401"],
    "01_people": ["naive_datetime: field 'traits.last_login'", "suppressed  identify  notebook-ada"],
    "02_events": ["too_large: the message has 32132 bytes", "HTTP 400", "no_person", "Order Completed  notebook-o-1"],
    "03_objects_and_relationships": ['notebook-acme  notebook-bob  {"role":"guest"}', "no objects"],
    "04_devices": ["notebook-bob  notebook-token-1  ios", "no devices"],
    "05_batches": ["{'Receipt': 4000}", "{'Receipt': 500, 'CallRejected': 1}", "duplicate_id", "1 event"],
    "06_page_and_screen": ["page    Pricing  Shop", "screen  Cart"],
    "07_aliases": ['{"plan":"pro","city":"Graz","seats":3}'],
    "08_iterable": ["400 RequestFieldsTypesMismatched", "confirmed after 3 tries"],
    "09_ledger": ["email_malformed", "RequestFieldsTypesMismatched"],
}


def shown(notebook: Any) -> str:
    """All text a reader sees below the cells."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", output
            assert output.get("name") != "stderr", output.text
            texts.append(output.get("text") or output.data["text/plain"])
    return "\n".join(texts)


def test_every_notebook_has_something_to_show() -> None:
    assert sorted(SHOWN) == [path.stem for path in notebooks()]


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_notebook_runs_and_shows_what_it_is_for(finished: Finished, name: str) -> None:
    text = shown(finished[name].result())
    assert [words for words in SHOWN[name] if words not in text] == []


def test_the_page_shows_what_the_notebooks_show(finished: Finished) -> None:
    sections, pictures = [], set()
    for path in notebooks():
        text, files = section(path.stem, finished[path.stem].result())
        sections.append(text)
        pictures |= files.keys()
    _, marker, made = PAGE.read_text(encoding="utf-8").partition(MADE_FROM_HERE)
    assert marker
    assert made.split("\n") == "\n".join(["", *sections]).split("\n"), "run: make notebooks-page"
    assert {path.name for path in IMAGES.glob("0*.png")} == pictures
    assert len(pictures) == 2


def test_the_ledger_that_the_setting_names_is_opened(tmp_path: Path) -> None:
    ledger = tmp_path / "reverse_etl_ledger.db"
    write_demo(f"sqlite:///{ledger}")
    there = environment(tmp_path, REVERSE_ETL_LEDGER=str(ledger))
    text = shown(executed(FOLDER / "09_ledger.ipynb", FOLDER, there))
    assert str(ledger) in text
    assert "email_malformed" in text
