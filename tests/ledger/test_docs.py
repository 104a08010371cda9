"""docs/ledger.md names every table and column there is, and its queries run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.schema import METADATA, OUTCOME_NUMBERS
from tests.ledger.samples import TRACK, UPDATE, delivered, failed, key, query, ref, rejected

PAGE = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLE_KEY = "0123456789abcdef" * 2


def test_the_page_describes_every_table_and_column_and_no_other() -> None:
    sections = re.findall(r"^### `(\w+)`$(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    documented = {name: re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) for name, text in sections}
    assert documented == {table.name: table.columns.keys() for table in METADATA.sorted_tables}


def test_the_first_labels_are_the_outcomes(ledger: Ledger, url: str) -> None:
    ledger.begin(ref()).mark(0, [delivered("anna")])
    words = query(url, "SELECT id, name FROM labels WHERE id <= 6 ORDER BY id")
    assert words == [(number, outcome.value) for outcome, number in OUTCOME_NUMBERS.items()]
    assert set(OUTCOME_NUMBERS) == set(Outcome) - {Outcome.PLANNED}


EXPECTED: list[Sequence[tuple[Any, ...]]] = [
    [("page_views", "2026-01-13", "manual__1", 0, 3, 1, 0, 0, 1, 0, 1)],
    [],
    [("page_views", "rejected", "InvalidEmailAddressError", 1)],
    [
        ("page_views", "2026-01-13", "manual__1", 0, TRACK, "failed", "GenericError", 500, None),
        ("page_views", "2026-01-13", "manual__1", 0, UPDATE, "delivered", "delivered", 200, "request-1"),
    ],
    [
        ("page_views", "2026-01-13", 0, "failed", "GenericError", 1),
        ("page_views", "2026-01-13", 0, "rejected", "InvalidEmailAddressError", 1),
    ],
]


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_every_query_of_the_page_answers(ledger: Ledger, url: str, number: int) -> None:
    attempt = ledger.begin(ref())
    attempt.mark(0, [delivered("anna"), failed("anna", TRACK), rejected("bert")])
    attempt.finish(3, {Outcome.DELIVERED: 1, Outcome.REJECTED: 1, Outcome.FAILED: 1})
    rows = query(url, QUERIES[number].replace(EXAMPLE_KEY, key("anna")))
    found = [tuple(value if isinstance(value, int | None) else str(value) for value in row) for row in rows]
    assert sorted(found, key=repr) == EXPECTED[number]


def test_the_page_has_the_queries_whose_answers_are_known() -> None:
    assert len(QUERIES) == len(EXPECTED)
    assert EXAMPLE_KEY in "".join(QUERIES)
