"""What the notebooks begin with: accounts, tables, the view of a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.notebooks import LedgerView, open_customerio, open_iterable, open_ledger
from reverse_etl.notebooks.tables import print_table


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CUSTOMERIO_HOST", "https://cdp.example.com"),
        ("CUSTOMERIO_REGION", "eu"),
        ("ITERABLE_HOST", "https://api.example.com"),
        ("ITERABLE_REGION", "eu"),
    ],
)
def test_a_place_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    key = f"{name.partition('_')[0]}_API_KEY"
    with pytest.raises(ConfigurationError, match=f"{name} is set and {key} is not"):
        (open_customerio if name.startswith("CUSTOMERIO") else open_iterable)()


@pytest.mark.parametrize("key", ["", "  "])
def test_without_a_key_there_is_an_empty_sandbox_each_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    monkeypatch.setenv("CUSTOMERIO_API_KEY", key)
    for _ in range(2):
        customerio, account = open_customerio()
        account.show("people")
        assert capsys.readouterr().out == "no people\n\n"
        with customerio:
            customerio.identify("ada", {"plan": "pro", "seats": 3, "address": {"city": "Graz"}})
        account.show("people", "id", "traits.address.city", "traits.address", "traits.none.none")
        assert capsys.readouterr().out == (
            "id   traits.address.city  traits.address   traits.none.none\n"
            'ada  Graz                 {"city":"Graz"}  -\n\n'
        )
        assert repr(account) == "a sandbox of Customer.io in this process"


def test_of_a_real_account_it_says_where_to_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUSTOMERIO_API_KEY", " sk_eu_0123456789\n")
    monkeypatch.setenv("ITERABLE_API_KEY", "0123456789")
    monkeypatch.setenv("ITERABLE_REGION", "EU")
    customerio, workspace = open_customerio()
    project, account = open_iterable()
    customerio.close()
    project.close()
    workspace.show("dropped")
    account.show("users")
    assert capsys.readouterr().out == (
        "dropped: look for them in the workspace; the API has nothing to read with\n"
        "users: look for them in the project\n"
    )
    assert (repr(workspace), workspace.sandbox) == ("a real account of Customer.io", None)
    assert (repr(account), account.host) == ("a real account of Iterable", "")


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    project, account = open_iterable()
    with project, pytest.raises(ConfigurationError, match="'people' is unknown; allowed: users, events"):
        account.show("people")


def test_a_table_has_all_fields_unless_columns_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"a": 1, "b.c": "dotted", "b": {"c": True}}, {"a": 20, "b.c": None, "b": None}]
    print_table("rows", (), records)
    print_table("rows", ("b.c", "a"), records)
    print_table("rows", ("b",), [])
    assert capsys.readouterr().out == (
        ' a  b.c     b\n 1  dotted  {"c":true}\n20  -       -\n\nb.c      a\ndotted   1\n-       20\n\nno rows\n\n'
    )


def test_without_a_setting_there_are_three_runs_that_add_up() -> None:
    ledger = open_ledger()
    assert repr(ledger) == "the ledger of three demonstration runs"
    runs = ledger.query("SELECT * FROM runs ORDER BY run_day")
    ledger.close()
    kinds = ("delivered", "unchanged", "invalid", "rejected", "suppressed", "failed")
    assert [run["rows_read"] for run in runs] == [80, 170, 190]
    assert all(run["rows_read"] == sum(run[kind] for kind in kinds) for run in runs)
    assert sum(run["failed"] for run in runs) == 12


def test_a_ledger_that_is_not_there_is_refused_with_the_path_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REVERSE_ETL_LEDGER", "none.db")
    with pytest.raises(ConfigurationError, match=f"REVERSE_ETL_LEDGER names {tmp_path}/none.db, which does not exist"):
        open_ledger()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
def test_the_setting_is_a_file_or_a_url(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], scheme: str
) -> None:
    file = tmp_path / "ledger.db"
    file.touch()
    monkeypatch.setenv("REVERSE_ETL_LEDGER", f"{scheme}{file}")
    ledger = open_ledger()
    assert isinstance(ledger, LedgerView)
    assert repr(ledger) == str(file)
    ledger.show("SELECT 1 AS one, 'x' AS other")
    with pytest.raises(ConfigurationError, match="could not answer"):
        ledger.query("SELECT nothing FROM nowhere")
    ledger.close()
    assert capsys.readouterr().out == "one  other\n  1  x\n\n"
