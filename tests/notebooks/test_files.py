"""The notebooks as files: no outputs in git, one setting that leads to a real account."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from devstack.notebooks import notebooks, stripped
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, SERVER_KEY, SandboxServer

PATHS = notebooks()

every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


@every_notebook
def test_no_outputs_are_in_git(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == stripped(text), "run: make format"


def test_stripping_takes_away_outputs_counts_and_what_an_editor_remembers() -> None:
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "id": "a", "metadata": {"tags": ["a"]}, "source": ["# Größe"]},
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {"execution": {"iopub.status.busy": "2026-01-13"}},
            "execution_count": 7,
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["secret"]}],
            "source": ["print(1)"],
        },
    ]
    used = {"cells": cells, "metadata": {"widgets": {}}, "nbformat": 4, "nbformat_minor": 5}
    text = stripped(json.dumps(used))
    assert "secret" not in text
    assert "iopub" not in text
    assert "Größe" in text
    clean = json.loads(text)
    assert [cell["id"] for cell in clean["cells"]] == ["a", "b"]
    assert (clean["cells"][1]["outputs"], clean["cells"][1]["execution_count"]) == ([], None)
    assert stripped(text) == text


def run(path: Path) -> str:
    """What the cells print, run one after another in this process."""
    printed = io.StringIO()
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(printed):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
    for name in ("customerio", "project"):
        if name in names:
            names[name].close()
    return printed.getvalue()


@pytest.mark.parametrize("path", PATHS[:8], ids=lambda path: path.stem)
def test_one_setting_leads_to_a_real_account_of_customerio(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SandboxServer() as real:
        monkeypatch.setenv("CUSTOMERIO_API_KEY", CUSTOMERIO_KEY)
        monkeypatch.setenv("CUSTOMERIO_HOST", real.url)
        text = run(path)
        assert real.customerio.stats()["messages"]
        left = [person["id"] for person in real.customerio.people()]
    assert "look for them in the workspace" in text
    assert left == (["notebook-ada"] if path.stem == "00_setup" else [])


@pytest.mark.integration  # an event before its user is tried for three seconds
def test_one_setting_leads_to_a_real_project_of_iterable(monkeypatch: pytest.MonkeyPatch) -> None:
    with SandboxServer() as real:
        monkeypatch.setenv("ITERABLE_API_KEY", SERVER_KEY)
        monkeypatch.setenv("ITERABLE_HOST", real.url)
        text = run(PATHS[8])
        assert [user["email"] for user in real.users()] == ["notebook-ada@example.com"]
        assert len(real.events()) == 2
    assert "look for them in the project" in text
    assert "confirmed after 1 tries" in text
