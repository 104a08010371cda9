"""`reverse-etl quarantine`: what it shows, sends and forgets."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.records import Marked, RunRef
from reverse_etl.operators.base import hash_key
from reverse_etl.sandbox.testing import SandboxServer
from tests.cli.conftest import Answer, Command, Quarantine, answered_on_a_terminal
from tests.operators.conftest import Finished

pytestmark = pytest.mark.integration

Add = Callable[..., None]
Shop = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def refused(run_sync: Callable[..., Finished], views: Add, shop: Shop, reverse_etl: Command) -> None:
    """A run with four rows: one delivered, two malformed, one without an identifier."""
    views("ada@example.com")
    views("malformed-quetzal")
    views(None, first_name="Quetzalcoatlina")
    views("quetzal, malformed too")
    assert run_sync().counts == {"read": 4, "delivered": 1, "invalid": 3}


def mend(shop: Shop) -> None:
    shop("UPDATE views SET email = CONCAT('mended', id, '@example.com') WHERE id > 1")


def hashed(number: int) -> str:
    return hash_key()((number,))


# --- Use -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: {check,preview,quarantine,purge,forget,watermark}; see reverse-etl --help"),
        (["quarantine"], "required: {list,show,replay,discard}; see reverse-etl quarantine --help"),
        (["quarantine", "show"], "required: SYNC; see reverse-etl quarantine show --help"),
        (["quarantine", "show", "views", "--limit", "0"], "'0' is not a whole number of 1 or more"),
        (["quarantine", "list", "--since", "13.01.2026"], "since is '13.01.2026', expected a day such as 2026-01-13"),
        (["quarantine", "replay", "view"], "no DAG has a sync named 'view'; there are views"),
        (["quarantine", "show", "views", "--key-values", "1", "2"], "2 key values were given for the sync views"),
        (["quarantine", "show", "views", "ada@example.com"], "KEY: not a hashed key; expected 32 hexadecimal"),
        (["quarantine", "discard", "views", "--key", "zzz"], "--key: not a hashed key; expected 32 hexadecimal"),
    ],
)
def test_wrong_use_is_one_line_and_2(reverse_etl: Command, arguments: list[str], message: str) -> None:
    answer = reverse_etl(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("reverse-etl: ")
    assert message in answer.err
    assert "ada@example.com" not in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["list"], ["list", "--json"], ["show", "views"], ["replay", "views"], ["discard", "views"]]
)
def test_without_a_ledger_nothing_is_made_and_its_place_is_named(
    reverse_etl: Command, tmp_path: Path, arguments: list[str]
) -> None:
    answer = reverse_etl("quarantine", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert f"there is no ledger at {tmp_path}/ledger.db yet: the first run makes it" in answer.err
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list"], "The quarantine is empty"),
        (["list", "--sync", "views"], "No call of views is in quarantine"),
        (["list", "--reason", "timeout"], "No call in quarantine fits --reason"),
        (["show", "views"], "No call of views is in quarantine"),
        (
            ["show", "views", "--key-values", "1", "--since", "2026-01-13"],
            "No call of views in quarantine fits --key-values and --since",
        ),
        (["replay", "views"], "No call of views is in quarantine"),
        (["discard", "views", "--key", "0" * 32], "No call of views in quarantine fits --key"),
    ],
)
def test_an_empty_quarantine_is_said_to_be_empty(
    reverse_etl: Command, tmp_path: Path, quarantine: Quarantine, arguments: list[str], said: str
) -> None:
    assert quarantine() == []
    answer = reverse_etl("quarantine", *arguments)
    assert answer == Answer(0, f"{said} (ledger: sqlite:///{tmp_path}/ledger.db).\n", "")


@pytest.mark.parametrize("arguments", [["list", "--sync"], ["list", "--json", "--sync"], ["show"], ["discard"]])
def test_a_name_no_sync_has_is_answered_with_those_there_are(
    reverse_etl: Command, quarantine: Quarantine, arguments: list[str]
) -> None:
    assert quarantine() == []
    answer = reverse_etl("quarantine", *arguments, "nosuch")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "reverse-etl: no DAG has a sync named 'nosuch'; there are views\n"


def test_a_sync_no_dag_has_any_more_is_known_while_its_calls_are_there(
    refused: None, reverse_etl: Command, tmp_path: Path
) -> None:
    (tmp_path / "dags/views.py").unlink()
    assert "fits --reason" in reverse_etl("quarantine", "show", "views", "--reason", "timeout").out
    assert "there are views" in reverse_etl("quarantine", "show", "view").err


def test_the_password_of_the_ledger_is_not_shown(reverse_etl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "mysql", "host": "127.0.0.1", "port": 9, "schema": "ledger", "password": "hunter2"}
    monkeypatch.setenv("AIRFLOW_CONN_REVERSE_ETL_LEDGER", json.dumps(connection))
    answer = reverse_etl("quarantine", "list")
    assert answer.code == 2
    assert answer.err.startswith("reverse-etl: the ledger at ")
    assert answer.err.count("\n") == 1
    assert "hunter2" not in answer.err


# --- list and show ---------------------------------------------------------------------------------------------


def test_the_list_counts_by_reason(refused: None, reverse_etl: Command) -> None:
    answer = reverse_etl("quarantine", "list")
    assert answer.out.splitlines() == [
        "sync   outcome  reason              calls",
        "views  invalid  email_malformed         2",
        "views  invalid  identifier_missing      1",
    ]
    assert answer.err == ""


def test_the_list_as_json_is_filtered(refused: None, reverse_etl: Command) -> None:
    for arguments, calls in (
        (["--reason", "identifier_missing"], [1]),
        (["--sync", "views"], [2, 1]),
        (["--since", "2100-01-01"], []),
        (["--since", "2026-01-13"], [2, 1]),
    ):
        listed = json.loads(reverse_etl("quarantine", "list", "--json", *arguments).out)
        assert [entry["calls"] for entry in listed] == calls, arguments


def test_calls_are_shown_with_hashed_keys_only(refused: None, reverse_etl: Command) -> None:
    answer = reverse_etl("quarantine", "show", "views")
    header, *rows = answer.out.splitlines()
    assert " ".join(header.split()) == "key call outcome reason last seen"
    assert sorted(row.split()[0] for row in rows) == sorted(map(hashed, (2, 3, 4)))
    assert all("(row)  invalid" in row for row in rows)
    assert "uetzal" not in answer.out + answer.err


def test_a_line_fits_a_terminal_unless_all_columns_are_asked_for(tmp_path: Path, reverse_etl: Command) -> None:
    longest = "A" * 40
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        attempt = ledger.begin(RunRef("views", "manual__1", "views", 0, date(2026, 1, 13), 7))
        attempt.mark(0, [Marked(hashed(1), "user_update", Outcome.REJECTED, longest, 400, 1, "request-1", b"f" * 16)])
    narrow = reverse_etl("quarantine", "show", "views").out.splitlines()
    assert max(map(len, narrow)) <= 100
    assert f"{'A' * 28}...  20" in narrow[1]
    header, row = reverse_etl("quarantine", "show", "views", "--wide").out.splitlines()
    assert " ".join(header.split()) == "key call outcome reason status request id first seen last seen tries run"
    assert f"{longest}     400  request-1" in row
    assert row.endswith("views manual__1")


def test_one_row_is_shown_by_its_hash_or_its_key_values(refused: None, reverse_etl: Command) -> None:
    by_hash = reverse_etl("quarantine", "show", "views", hashed(3))
    by_values = reverse_etl("quarantine", "show", "views", "--key-values", "3")
    assert by_hash.out == by_values.out
    assert by_hash.out.count("\n") == 2
    assert "identifier_missing" in by_hash.out
    assert "No call of views in quarantine fits --key" in reverse_etl("quarantine", "show", "views", hashed(1)).out


def test_a_long_list_is_cut_and_says_so(refused: None, reverse_etl: Command) -> None:
    answer = reverse_etl("quarantine", "show", "views", "--limit", "2")
    assert answer.out.splitlines()[3] == "There are more than these 2; see more with --limit."
    assert "There are more" not in reverse_etl("quarantine", "show", "views", "--limit", "3").out
    assert len(json.loads(reverse_etl("quarantine", "show", "views", "--limit", "2", "--json").out)) == 2


def test_calls_are_filtered(refused: None, reverse_etl: Command) -> None:
    shown = reverse_etl("quarantine", "show", "views", "--reason", "identifier_missing", "--json")
    assert [call["key"] for call in json.loads(shown.out)] == [hashed(3)]
    assert json.loads(reverse_etl("quarantine", "show", "views", "--since", "2100-01-01", "--json").out) == []


# --- replay ----------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_and_sends_nothing(
    refused: None, reverse_etl: Command, sandbox: SandboxServer, quarantine: Quarantine
) -> None:
    before, requests = quarantine(), sandbox.stats()["requests_total"]
    answer = reverse_etl("quarantine", "replay", "views", "--dry-run")
    assert answer.code == 0
    assert "invalid email_malformed 2 invalid identifier_missing 1 day window days rows 2026-01-13 7 3" in answer.words
    assert answer.out.endswith("Dry run: nothing was read or sent.\n")
    assert (quarantine(), sandbox.stats()["requests_total"]) == (before, requests)


def test_mended_rows_are_delivered_and_leave(
    refused: None,
    reverse_etl: Command,
    shop: Shop,
    sandbox: SandboxServer,
    quarantine: Quarantine,
    tmp_path: Path,
) -> None:
    mend(shop)
    answer = reverse_etl("quarantine", "replay", "views", "--batch-rows", "2")
    assert answer.code == 0
    assert "read delivered unchanged invalid rejected suppressed failed 3 3 0 0 0 0 0" in answer.words
    assert answer.out.endswith("0 calls of the sync are in quarantine.\n")
    assert "batch 1: 1 delivered in" in answer.err
    assert quarantine() == []
    assert len(sandbox.events()) == 4
    assert not (tmp_path / "staging/reverse-etl").exists() or not list((tmp_path / "staging/reverse-etl").iterdir())


def test_rows_still_bad_or_gone_end_with_1(
    refused: None, reverse_etl: Command, shop: Shop, quarantine: Quarantine
) -> None:
    shop("DELETE FROM views WHERE id = 2")
    before = {call.key: call for call in quarantine()}
    answer = reverse_etl("quarantine", "replay", "views")
    assert answer.code == 1
    assert "2 0 0 2 0 0 0" in answer.words
    assert "1 rows are not in the source any more; they stay in quarantine. 3 calls of the sync" in answer.words
    after = {call.key: call for call in quarantine()}
    assert after[hashed(2)] == before[hashed(2)]
    assert [after[hashed(number)].tries for number in (3, 4)] == [2, 2]
    assert after[hashed(3)].run_id.startswith("cli__")
    assert "uetzal" not in answer.out + answer.err


def test_only_the_reason_asked_for_is_sent(
    refused: None, reverse_etl: Command, shop: Shop, quarantine: Quarantine
) -> None:
    mend(shop)
    assert reverse_etl("quarantine", "replay", "views", "--reason", "identifier_missing").code == 0
    assert {call.code for call in quarantine()} == {"email_malformed"}


def test_a_wrong_key_changes_nothing_and_a_second_replay_delivers(
    refused: None,
    reverse_etl: Command,
    connections: Callable[..., None],
    shop: Shop,
    sandbox: SandboxServer,
    quarantine: Quarantine,
) -> None:
    mend(shop)
    before, requests = quarantine(), sandbox.stats()["requests_total"]
    connections(password="no-such-key")
    answer = reverse_etl("quarantine", "replay", "views", "--batch-rows", "1")
    assert answer.code == 1
    assert "reverse-etl: batch 0 stopped: " in answer.err
    assert "BadApiKey" in answer.err
    assert sandbox.stats()["requests_total"] == requests + 1
    assert quarantine() == before
    connections()
    assert reverse_etl("quarantine", "replay", "views").code == 0


def test_a_missing_source_connection_is_one_line(
    refused: None, reverse_etl: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_MYSQL_DEFAULT")
    answer = reverse_etl("quarantine", "replay", "views")
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == (
        "reverse-etl: The conn_id `mysql_default` isn't defined; "
        "add the connection to Airflow or name another, see docs/connections.md"
    )


# --- discard ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ([], []),
        (["--reason", "email_malformed"], [3]),
        (["--since", "2100-01-01"], [2, 3, 4]),
        (["--since", "2026-01-13", "--reason", "identifier_missing"], [2, 4]),
        (["--key", "{2}", "{3}"], [4]),
        (["--key", "{2}", "{3}", "--reason", "email_malformed"], [3, 4]),
        (["--key", "0" * 32], [2, 3, 4]),
    ],
)
def test_what_is_asked_for_is_forgotten(
    refused: None, reverse_etl: Command, quarantine: Quarantine, arguments: list[str], left: list[int]
) -> None:
    filled = [argument.format("", "", hashed(2), hashed(3)) for argument in arguments]
    answer = reverse_etl("quarantine", "discard", "views", "--yes", *filled)
    assert answer.code == 0
    assert {call.key for call in quarantine()} == set(map(hashed, left))
    gone = 3 - len(left)
    assert answer.out == f"{gone} calls of views were discarded.\n" if gone else "No call of views" in answer.out


def test_without_a_terminal_nothing_is_forgotten_unasked(
    refused: None, reverse_etl: Command, quarantine: Quarantine
) -> None:
    answer = reverse_etl("quarantine", "discard", "views")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "reverse-etl: there is no terminal to ask on; add --yes to go on without a question\n"
    assert len(quarantine()) == 3


def test_on_a_terminal_it_asks(refused: None, quarantine: Quarantine) -> None:
    for reply, left in (("n", 3), ("", 3), ("y", 0)):
        answer = answered_on_a_terminal(reply, "quarantine", "discard", "views")
        assert "Forget 3 calls of views for good? [y/N]" in answer.err
        assert answer.code == 0
        assert ("Nothing was discarded." in answer.out) is (left == 3)
        assert len(quarantine()) == left, reply
