"""docs/consent.md: its snippets build, its query runs, its messages are those of the code."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devstack.database import PrivateServer
from reverse_etl.consent import Consent
from reverse_etl.customerio.config import CustomerIODestination, Identify
from reverse_etl.errors import ConfigurationError
from reverse_etl.mapping import Constant
from reverse_etl.staging.consent import read_people
from reverse_etl.staging.source import stream_query
from tests.database import own_database, run
from tests.docs.pages import block, code, table

PAGE = "docs/consent.md"
CUSTOMERIO = CustomerIODestination(user_id="user_id", identify=Identify((Constant("x", 1),)))


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "do_not_contact.sql"
    path.write_text(block("consent-sql"))
    return path


def test_the_snippets_build_a_consent(people: Path) -> None:
    names = {"Consent": Consent, "Path": Path, "__file__": str(people.with_name("dag.py"))}
    column, query = block("consent-column"), block("consent-query")
    assert eval(f"dict({column})", dict(names)) == {"consent": Consent(column="no_marketing")}
    assert eval(f"dict({query})", dict(names)) == {"consent": Consent(query=people)}


@pytest.mark.integration
def test_the_query_gives_people(server: PrivateServer) -> None:
    with own_database(server) as connect:
        run(
            connect,
            "CREATE TABLE do_not_contact (email VARCHAR(200), user_id BIGINT, asked_at DATETIME)",
            "INSERT INTO do_not_contact VALUES ('Ada@example.com', 7, '2026-01-01'), (NULL, 8, '2027-01-01')",
        )
        window = {"window_end": datetime(2026, 1, 14, tzinfo=UTC), "window_start": datetime(2026, 1, 7, tzinfo=UTC)}
        with stream_query(connect(), block("consent-sql"), window) as stream:
            assert read_people(stream) == {"email": {"ada@example.com"}, "user_id": {"7"}}


@pytest.mark.parametrize("cells", table(PAGE, "written"), ids=lambda cells: cells[0])
def test_what_is_refused_at_parsing_is_refused_in_these_words(cells: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        eval(code(cells[0]))
    assert str(refused.value) == code(cells[1])


def test_what_is_refused_at_extract_is_refused_in_these_words(people: Path) -> None:
    acts: list[Callable[[], object]] = [
        lambda: Consent(column="no_marketing").check_kinds({"no_marketing": "text"}),
        lambda: Consent(query=people).compared(["email", "name"], CUSTOMERIO),
        lambda: Consent(query=people).compared(["email"], CUSTOMERIO),
    ]
    for act, cells in zip(acts, table(PAGE, "what it finds"), strict=True):
        with pytest.raises(ConfigurationError) as refused:
            act()
        assert str(refused.value) == code(cells[1])
