from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from devstack.airflow_env import Ports, airflow_environment
from devstack.layout import Layout
from devstack.services import PLATFORMS, Services
from devstack.settings import CUSTOMERIO_VARIABLE, ITERABLE_VARIABLE, MYSQL_VARIABLE, machine_secrets, user_environment


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "dags").mkdir()
    found = Layout(tmp_path)
    found.create()
    return found


@pytest.mark.parametrize("name", ["AIRFLOW_HOME", "AIRFLOW__CORE__EXECUTOR", "PYTHONPATH", "PYTHONSAFEPATH"])
def test_variables_of_another_airflow_or_python_do_not_leak_in(layout: Layout, name: str) -> None:
    assert name not in user_environment(layout, {name: "foreign"})


@pytest.mark.parametrize("name", [MYSQL_VARIABLE, "AIRFLOW__REVERSE_ETL__OUTPUT_PATH", "LANG"])
def test_variables_meant_for_the_run_are_kept(layout: Layout, name: str) -> None:
    assert user_environment(layout, {name: "mine"})[name] == "mine"


def test_the_shell_wins_over_the_env_file_and_empty_means_not_set(layout: Layout) -> None:
    (layout.root / ".env").write_text(
        f"{MYSQL_VARIABLE}=from-file\n{ITERABLE_VARIABLE}=\nexport AIRFLOW__REVERSE_ETL__HASH_KEY='$a b'\n"
    )
    found = user_environment(layout, {MYSQL_VARIABLE: "from-shell", "AIRFLOW_VAR_X": ""})
    assert found[MYSQL_VARIABLE] == "from-shell"
    assert found["AIRFLOW__REVERSE_ETL__HASH_KEY"] == "$a b"
    assert ITERABLE_VARIABLE not in found
    assert "AIRFLOW_VAR_X" not in found


def test_the_example_env_file_sets_nothing(layout: Layout) -> None:
    example = Path(__file__).parents[2] / ".env.example"
    (layout.root / ".env").write_text(example.read_text())
    assert not [name for name in user_environment(layout, {}) if name.startswith("AIRFLOW")]


@pytest.mark.parametrize(
    ("variables", "database", "sandbox"),
    [
        ({}, True, True),
        ({MYSQL_VARIABLE: "{}"}, False, True),
        ({ITERABLE_VARIABLE: "{}"}, True, True),
        ({CUSTOMERIO_VARIABLE: "{}"}, True, True),
        ({ITERABLE_VARIABLE: "{}", CUSTOMERIO_VARIABLE: "{}"}, True, False),
        ({MYSQL_VARIABLE: "{}", ITERABLE_VARIABLE: "{}", CUSTOMERIO_VARIABLE: "{}"}, False, False),
    ],
)
def test_a_connection_of_the_user_takes_the_place_of_the_embedded_server(
    layout: Layout, variables: dict[str, str], *, database: bool, sandbox: bool
) -> None:
    services = Services.chosen(layout, variables)
    assert (services.database is not None, services.sandbox is not None) == (database, sandbox)
    assert services.are_all_embedded is not bool(variables)
    given = {variable for variable in variables if variable != MYSQL_VARIABLE}
    assert {PLATFORMS[conn_id] for conn_id in services.sandboxed} == set(PLATFORMS.values()) - given


def test_secrets_are_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = machine_secrets(path)
    assert machine_secrets(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    assert not set(machine_secrets(path).values()) & set(first.values())


def test_a_secret_added_by_a_later_version_leaves_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"hash_key": "kept"}))
    found = machine_secrets(path)
    assert found["hash_key"] == "kept"
    assert found["fernet_key"]


def test_airflow_lives_in_the_project_folder_and_listens_on_loopback(layout: Layout) -> None:
    env = airflow_environment(
        layout,
        {"AIRFLOW_HOME": "/elsewhere", MYSQL_VARIABLE: "mine"},
        metadata="x.db",
        connections={"mysql_default": {"host": "embedded"}, "iterable_default": {"host": "sandbox"}},
        ports=Ports(ui=8099, worker_logs=1, triggerer_logs=2),
    )
    assert env["AIRFLOW_HOME"] == str(layout.airflow_home)
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env[MYSQL_VARIABLE] == "mine"
    assert json.loads(env[ITERABLE_VARIABLE]) == {"host": "sandbox"}
    assert int(env["AIRFLOW__CORE__PARALLELISM"]) <= 8
    assert stat.S_IMODE(layout.local.stat().st_mode) == 0o700
