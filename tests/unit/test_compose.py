"""docker-compose.yaml and the Dockerfile, read without Docker; and checked by docker compose where there is one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
ONE_SHOT = {"airflow-init"}
SECRET = re.compile(r"PASSWORD|SECRET|KEY")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)([^}]*)\}")
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}

every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def mounted_paths(service: dict[str, Any]) -> list[str]:
    sources = [volume.split(":")[0] for volume in service.get("volumes", [])]
    return [source for source in sources if source.startswith((".", "/", "~"))]


def needed_variables() -> set[str]:
    return {name for name, rest in VARIABLE.findall(TEXT) if rest.startswith(":?")}


def test_all_parts_of_the_job_are_there() -> None:
    parts = {"init", "api-server", "scheduler", "dag-processor", "triggerer"}

    assert set(SERVICES) == {"mysql", "postgres", "sandbox", *(f"airflow-{part}" for part in parts)}


@every_service
def test_a_service_that_keeps_running_has_a_health_check(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) is (name not in ONE_SHOT)


@every_service
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@every_service
def test_a_service_waits_for_services_that_exist_and_can_meet_the_condition(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        assert how["condition"] in CONDITIONS
        assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
        assert (how["condition"] == "service_completed_successfully") is (other in ONE_SHOT)


@every_service
def test_mounted_paths_exist_in_the_project(name: str) -> None:
    for source in mounted_paths(SERVICES[name]):
        assert source.startswith("./")
        assert (ROOT / source).exists(), source


@every_service
def test_named_volumes_are_declared(name: str) -> None:
    declared = yaml.safe_load(TEXT)["volumes"]

    named = [volume.split(":")[0] for volume in SERVICES[name].get("volumes", [])]
    assert {volume for volume in named if not volume.startswith(".")} <= set(declared)


def test_no_secret_has_a_default() -> None:
    secrets = {(name, rest) for name, rest in VARIABLE.findall(TEXT) if SECRET.search(name)}

    assert len({name for name, _ in secrets}) >= 6
    assert all(rest == f":?set {name} in .env, see .env.example" for name, rest in secrets)


@every_service
def test_no_secret_is_written_into_the_file(name: str) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(key) and not key.endswith("_FILE"):
            assert VARIABLE.fullmatch(str(value)), key


def test_the_example_of_the_environment_names_every_needed_variable() -> None:
    offered = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))

    assert needed_variables() <= offered


def test_the_image_carries_the_pinned_version_of_airflow() -> None:
    pinned = re.search(r"^apache-airflow==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None

    images = {service["image"] for service in SERVICES.values() if "build" in service}
    assert images == {f"airflow-provider-reverse-etl:airflow-{pinned[1]}"}
    assert "--constraint constraints.txt --find-links" in (ROOT / "Dockerfile").read_text()


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    paths = {path for line in copied for path in line.split()}
    kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert {"plugins", "constraints.txt"} <= paths == set(kept)
    assert all((ROOT / path).exists() for path in paths)


def test_the_connections_are_json_and_reach_the_services_they_name() -> None:
    environment = SERVICES["airflow-scheduler"]["environment"]
    mysql = json.loads(environment["AIRFLOW_CONN_MYSQL_DEFAULT"])
    platforms = [json.loads(environment[f"AIRFLOW_CONN_{name}_DEFAULT"]) for name in ("ITERABLE", "CUSTOMERIO")]

    assert mysql["host"] in SERVICES
    assert mysql["login"] == SERVICES["mysql"]["environment"]["MYSQL_USER"]
    assert mysql["schema"] == SERVICES["mysql"]["environment"]["MYSQL_DATABASE"]
    assert mysql["password"] == SERVICES["mysql"]["environment"]["MYSQL_PASSWORD"]
    # Plain http is for loopback only, so tasks and sandbox have to share one network.
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert SERVICES["sandbox"]["network_mode"] == "service:airflow-scheduler"
    for platform, kind in zip(platforms, ("iterable", "customerio"), strict=True):
        assert platform["conn_type"] == kind
        assert platform["host"] == f"http://127.0.0.1:{SERVICES['sandbox']['command'][-1]}"


@pytest.fixture(params=[["docker-compose"], ["docker", "compose"]], ids=" ".join)
def compose(request: pytest.FixtureRequest) -> list[str]:
    command: list[str] = request.param
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    if subprocess.run([*command, "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{' '.join(command)} is not installed")
    return [*command, "--file", str(ROOT / "docker-compose.yaml")]


def compose_config(compose: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `config` with nothing but the given variables and, in `folder`, no .env file."""
    system = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [*compose, "--project-directory", str(folder), "config"],
        cwd=folder,
        env=system | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose_accepts_the_file(compose: list[str], tmp_path: Path) -> None:
    answer = compose_config(compose, tmp_path, **dict.fromkeys(needed_variables(), "dummy"))

    assert answer.returncode == 0, answer.stderr
    assert set(yaml.safe_load(answer.stdout)["services"]) == set(SERVICES)


def test_compose_asks_for_a_missing_secret(compose: list[str], tmp_path: Path) -> None:
    given = dict.fromkeys(needed_variables() - {"MYSQL_PASSWORD"}, "dummy")

    answer = compose_config(compose, tmp_path, **given)

    assert answer.returncode != 0
    assert "set MYSQL_PASSWORD in .env" in answer.stderr
