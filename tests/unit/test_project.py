"""The project's own rules: dependencies agree, DAG files stay light, one truth per fact."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for folder in ("dags", "devstack", "plugins") for path in (ROOT / folder).rglob("*.py"))
HEAVY = ("pyarrow", "aiohttp", "fastapi", "uvicorn", "sqlalchemy.orm", "email_validator", "jwt", "tenacity")


def requirements(name: str) -> set[str]:
    lines = (ROOT / name).read_text().splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def test_the_packages_dependencies_are_those_of_requirements_txt() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    of_the_stack = ("pytest", "python-dotenv")
    of_the_package = {line for line in requirements("requirements.txt") if not line.startswith(of_the_stack)}
    assert set(project["dependencies"]) == of_the_package


def test_every_direct_dependency_is_pinned() -> None:
    pinned = {Requirement(line).name.lower() for line in requirements("constraints.txt") if "==" in line}
    direct = {
        Requirement(line).name.lower()
        for name in ("requirements.txt", "requirements-dev.txt", "requirements-notebooks.txt")
        for line in requirements(name)
    }
    assert direct - pinned == set()


@pytest.mark.parametrize(
    "module",
    ["reverse_etl.sync", "reverse_etl.iterable.config", "reverse_etl.customerio.config", "reverse_etl.mapping"],
)
def test_what_a_dag_file_imports_is_light(module: str) -> None:
    check = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_modules_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
