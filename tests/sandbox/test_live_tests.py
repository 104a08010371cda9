"""The tests for real accounts pass with the sandbox as the account, and leave nobody behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, SERVER_KEY, SandboxServer
from tests.conftest import ROOT
from tests.docs.pages import code, table

pytestmark = pytest.mark.integration


def live(**variables: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if "_LIVE_" not in name}
    command = [sys.executable, "-m", "pytest", "-q", "-r", "fE", "-m", "live", "-p", "no:cacheprovider", "tests/live"]
    return subprocess.run(
        command, cwd=ROOT, env=environ | variables, capture_output=True, text=True, timeout=120, check=False
    )


def test_they_are_skipped_without_an_account_and_say_what_is_missing() -> None:
    done = live()
    assert done.returncode == 0, done.stdout
    assert "passed" not in done.stdout
    assert len(re.findall("^Skipped: ITERABLE_LIVE_API_KEY is not set", done.stdout, re.MULTILINE)) == 1
    assert len(re.findall("^Skipped: CUSTOMERIO_LIVE_API_KEY is not set", done.stdout, re.MULTILINE)) == 1
    assert "SKIPPED" not in done.stdout


@pytest.mark.parametrize("platform", ["ITERABLE", "CUSTOMERIO"])
def test_a_wrong_key_is_one_sentence_and_the_end(platform: str) -> None:
    with SandboxServer() as sandbox:
        done = live(**{f"{platform}_LIVE_HOST": sandbox.url, f"{platform}_LIVE_API_KEY": "no-such-key"})
    assert done.returncode == 1, done.stdout
    assert f"refuses the key of {platform}_LIVE_API_KEY" in done.stdout
    assert "Traceback" not in done.stdout
    assert "no-such-key" not in done.stdout
    assert len(done.stdout.splitlines()) < 8, done.stdout


@pytest.mark.parametrize("customerio_key", [CUSTOMERIO_KEY, "sk_us_sandbox"])
def test_they_pass_with_the_sandbox_as_the_account_and_clean_up(customerio_key: str) -> None:
    with SandboxServer() as sandbox:
        done = live(
            ITERABLE_LIVE_HOST=sandbox.url,
            ITERABLE_LIVE_API_KEY=SERVER_KEY,
            CUSTOMERIO_LIVE_HOST=sandbox.url,
            CUSTOMERIO_LIVE_API_KEY=customerio_key,
        )
        assert done.returncode == 0, done.stdout
        assert len(re.findall("^Skipped: ", done.stdout, re.MULTILINE)) == (customerio_key == CUSTOMERIO_KEY)
        assert sandbox.users() == []
        assert [sandbox.customerio.records(kind) for kind in ("people", "objects", "devices", "suppressed")] == [[]] * 4


def test_the_page_names_every_test_that_settles_something() -> None:
    named = {code(cells[1]) for cells in table("docs/live-tests.md", "question")}
    files = [path.read_text(encoding="utf-8") for path in Path(ROOT, "tests/live").glob("test_*.py")]
    assert named == set(re.findall(r"def (test_settles_\w+)", "\n".join(files)))
