"""`reverse-etl check`: the findings as a table, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from reverse_etl.sandbox.testing import SandboxServer
from tests.cli.conftest import Command

pytestmark = pytest.mark.integration

Add = Callable[..., None]


def test_an_unknown_sync_and_a_wrong_date_are_errors_of_use(reverse_etl: Command, views: Add) -> None:
    unknown = reverse_etl("check", "nowhere")
    assert (unknown.code, unknown.out) == (2, "")
    assert "no DAG has a sync named 'nowhere'" in unknown.err
    wrong = reverse_etl("check", "views", "--date", "13.1.2026")
    assert (wrong.code, wrong.out) == (2, "")


def test_an_error_ends_with_one(reverse_etl: Command, views: Add, sandbox: SandboxServer) -> None:
    sandbox.post("/api/users/update", {"email": "early@example.com", "dataFields": {"candidate": "yes"}})
    answer = reverse_etl("check", "views", "--date", "2026-01-13")
    assert answer.code == 1
    assert "error field candidate string in the project, the mapping sends boolean" in answer.words


def test_warnings_end_with_zero(reverse_etl: Command, views: Add, sandbox: SandboxServer) -> None:
    answer = reverse_etl("check", "views")
    assert answer.code == 0
    assert answer.out.splitlines()[0].split() == ["result", "what", "found"]
    assert "warning field first_name not in the project: created as string" in answer.words
    assert sandbox.users() == []


def test_a_refused_key_is_a_finding(
    reverse_etl: Command, connections: Callable[..., None], views: Add, sandbox: SandboxServer
) -> None:
    connections(password="no-such-key")
    answer = reverse_etl("check", "views", "--json")
    assert answer.code == 1
    [finding] = json.loads(answer.out)
    assert (finding["result"], finding["what"]) == ("error", "platform")
    assert "no-such-key" not in answer.out + answer.err


def test_offline_asks_nobody(reverse_etl: Command, views: Add, sandbox: SandboxServer) -> None:
    answer = reverse_etl("check", "views", "--offline")
    assert (answer.code, len(answer.out.splitlines())) == (0, 2)
    assert sandbox.stats()["requests_total"] == 0
