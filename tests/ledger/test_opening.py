from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from devstack.ports import free_port
from reverse_etl.errors import ConfigurationError, LedgerUnavailable, NoLedger, ReverseEtlError
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.ledger.migrating import SCRIPTS
from reverse_etl.ledger.schema import HEAD, METADATA, VERSION_TABLE
from tests.ledger.conftest import PASSWORD
from tests.ledger.processes import results
from tests.ledger.samples import ACCOUNT, contents, database, delivered, key, query, ref

NOBODY = 65534


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("no url", "cannot be read"),
        ("oracle://user:hunter2@host/x", "begins with oracle, expected one of mariadb, mysql, postgres"),
        ("mysql://user:hunter2@host", "names no database"),
        ("sqlite://", "no file"),
        ("sqlite:///ledger.db", "four slashes"),
        ("sqlite:///:memory:", "absolute path"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        Ledger.open(url)
    assert "hunter2" not in str(caught.value)


def test_a_ledger_that_is_not_there_is_made_only_by_those_who_may(url: str) -> None:
    with pytest.raises(NoLedger, match="the first run makes it"):
        Ledger.open(url, create=False)
    with pytest.raises(NoLedger):
        Ledger.open(url, create=False)
    Ledger.open(url).close()
    Ledger.open(url, create=False).close()


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_a_server_that_does_not_answer_is_named_without_user_and_password(kind: str) -> None:
    port = free_port()
    with pytest.raises(LedgerUnavailable, match="cannot be reached") as caught:
        Ledger.open(f"{kind}://somebody:hunter2@127.0.0.1:{port}/ledger")
    assert f"127.0.0.1:{port}/ledger" in str(caught.value)
    assert no_trace_of(caught.value, "hunter2", "somebody")


def test_a_wrong_password_needs_somebody_and_is_not_shown(server_url: str) -> None:
    with pytest.raises(ConfigurationError, match="refuses the user or the password") as caught:
        Ledger.open(server_url.replace(PASSWORD, "another-hunter"))
    assert no_trace_of(caught.value, "another-hunter", str(make_url(server_url).username) + "'")


def test_a_database_that_is_not_there_needs_somebody(server_url: str) -> None:
    absent = make_url(server_url).set(database="nowhere").render_as_string(hide_password=False)
    # MariaDB does not tell a user without rights whether a database exists.
    with pytest.raises(ConfigurationError, match="no database of that name|refuses the user"):
        Ledger.open(absent)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="file/folder of the ledger cannot be made"):
        Ledger.open(f"sqlite:///{tmp_path}/file/folder/ledger.db")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_text("important notes, " * 100)
    with pytest.raises(ConfigurationError, match="no SQLite database"):
        Ledger.open(f"sqlite:///{file}")
    assert file.read_text().startswith("important notes")


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder other users may look into, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_a_file_that_may_not_be_written_needs_somebody(shared_folder: Path, mode: int) -> None:
    url = f"sqlite:///{shared_folder}/ledger.db"
    with Ledger.open(url) as ledger:
        ledger.begin(ref())
    (shared_folder / "ledger.db").chmod(mode)
    shared_folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        with pytest.raises(ConfigurationError, match="may not be written"), Ledger.open(url) as ledger:
            ledger.begin(ref(run_id="another"))
    finally:
        os.seteuid(user)
        shared_folder.chmod(0o755)


def test_a_sqlite_file_locked_for_too_long_is_unavailable(sqlite_url: str) -> None:
    with Ledger.open(sqlite_url, patience=0.1) as ledger, closing(holding_lock(sqlite_url)):
        with pytest.raises(LedgerUnavailable, match="stayed locked .* SQLITE_BUSY"):
            ledger.begin(ref())
        assert ledger.quarantine.counts() == {}
    with Ledger.open(sqlite_url) as ledger:
        assert ledger.begin(ref()).id == 1


def holding_lock(url: str) -> sqlite3.Connection:
    connection = sqlite3.connect(str(make_url(url).database), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_a_row_locked_for_too_long_is_unavailable(server_url: str) -> None:
    with Ledger.open(server_url, patience=1) as ledger:
        ledger.budgets.lease(ACCOUNT, "/api", 1, 10)
        with database(server_url) as other:
            other.write("hold", lambda connection: expect_locked(connection, ledger))
        ledger.budgets.lease(ACCOUNT, "/api", 1, 10)


def expect_locked(connection: object, ledger: Ledger) -> None:
    from sqlalchemy import text

    connection.execute(text("UPDATE rate_budgets SET next_free = next_free"))  # type: ignore[attr-defined]  # any kind
    with pytest.raises(LedgerUnavailable, match="stayed locked"):
        ledger.budgets.lease(ACCOUNT, "/api", 1, 10)


def test_tables_newer_than_the_code_are_refused(url: str) -> None:
    Ledger.open(url).close()
    query(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(
        ConfigurationError, match=f"version 9999 of the tables, newer than this code, which knows {HEAD}"
    ):
        Ledger.open(url)


def test_a_migration_cut_short_is_finished_and_loses_nothing(url: str) -> None:
    with Ledger.open(url) as ledger:
        ledger.begin(ref()).mark(0, [delivered("anna")])
    before = contents(url)
    query(url, f"DROP TABLE {VERSION_TABLE}")
    query(url, "DROP TABLE rate_budgets")
    query(url, "DELETE FROM labels WHERE id = 3")
    with Ledger.open(url) as ledger:
        assert ledger.begin(ref()).confirmed(0) == {key("anna"): {"user_update"}}
    assert contents(url) == before
    assert query(url, "SELECT name FROM labels WHERE id = 3") == [("invalid",)]


def test_somebody_elses_tables_are_refused(url: str) -> None:
    query(url, "CREATE TABLE runs (id INTEGER, runner VARCHAR(20))")
    with pytest.raises(ConfigurationError, match="its own|of its own"):
        Ledger.open(url)


def test_many_processes_may_open_a_new_ledger_at_once(url: str) -> None:
    numbers = results([("open", url)] * 8)
    assert numbers == [[numbers[0][0]]] * 8
    assert query(url, f"SELECT version_num FROM {VERSION_TABLE}") == [(HEAD,)]


@pytest.mark.parametrize("turn", range(3))
def test_many_processes_may_open_a_new_file_at_once_again_and_again(sqlite_url: str, turn: int) -> None:
    numbers = results([("open", sqlite_url)] * 8)
    assert numbers == [[1]] * 8, f"turn {turn}"


def test_a_new_file_another_opener_has_locked_is_waited_for(sqlite_url: str) -> None:
    """Such a lock keeps the journal from being switched, which SQLite reports at once, however long it should wait."""
    with closing(holding_lock(sqlite_url)) as other, ThreadPoolExecutor(1) as pool:
        opening = pool.submit(Ledger.open, sqlite_url)
        assert not wait([opening], 0.5).done
        other.execute("COMMIT")
        with opening.result() as ledger:
            assert ledger.begin(ref()).id == 1


def test_a_new_file_that_stays_locked_is_unavailable_after_the_patience(sqlite_url: str) -> None:
    with (
        closing(holding_lock(sqlite_url)),
        pytest.raises(LedgerUnavailable, match="could not be opened: it stayed locked"),
    ):
        Ledger.open(sqlite_url, patience=0.2)


def test_the_migrations_make_the_tables_of_the_schema(url: str) -> None:
    Ledger.open(url).close()
    with database(url) as opened:
        differences = opened.read("compare", lambda connection: compare_metadata(context(connection), METADATA))
    assert differences == []


def context(connection: object) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})  # type: ignore[arg-type]


def test_the_code_works_with_the_newest_version_of_the_schema() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_statement_that_fails_tells_no_value(url: str) -> None:
    with Ledger.open(url) as ledger:
        attempt = ledger.begin(ref())
        query(url, "DROP VIEW outcomes")
        query(url, "DROP TABLE marks")
        with pytest.raises(ConfigurationError, match="could not record outcomes: its tables are not") as caught:
            attempt.mark(0, [delivered("anna")])
    assert no_trace_of(caught.value, key("anna"), "request-1")


def test_a_value_the_database_refuses_is_not_told(server_url: str) -> None:
    with Ledger.open(server_url) as ledger:
        attempt = ledger.begin(ref())
        with pytest.raises(LedgerUnavailable, match="statement failed") as caught:
            attempt.mark(0, [delivered("anna")._replace(status=7_654_321)])
        assert attempt.outcomes(0) == []
    assert no_trace_of(caught.value, key("anna"), "7654321", "request-1")


def no_trace_of(error: ReverseEtlError, *words: str) -> bool:
    told = str(error) + repr(error.__context__) + repr(error.__cause__)
    return not any(word in told for word in words)


def test_a_path_with_odd_characters_is_a_path(tmp_path: Path) -> None:
    file = tmp_path / "50% of Zoë's files" / "ledger.db"
    with Ledger.open(f"sqlite:///{file}") as ledger:
        ledger.begin(ref())
    assert file.is_file()
