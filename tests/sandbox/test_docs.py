"""The commands of the pages on the sandbox do what the pages say, and their tables name what exists."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reverse_etl.sandbox.customerio.reasons import REASONS
from reverse_etl.sandbox.customerio.settings import CustomerIoSettings
from reverse_etl.sandbox.faults import FaultRule
from reverse_etl.sandbox.settings import DEFAULT_KEYS, Settings

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text() for name in ("sandbox.md", "sandbox-customerio.md")}
BLOCK = re.compile(r"^```(bash|text|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8081"
NOW = re.compile(r'("(?:signupDate|profileUpdatedAt|receivedAt)":)"[^"]+"')
PYTHON = ".venv/bin/python"
END_OF_BLOCK = "--- end of block ---"


def expected_outputs(page: str) -> list[tuple[str, str]]:
    """Each bash block with the text block right after it, or no output."""
    pairs, blocks = [], BLOCK.findall(PAGES[page])
    for position, (kind, text) in enumerate(blocks):
        if kind == "bash":
            follower = blocks[position + 1] if position + 1 < len(blocks) else ("", "")
            pairs.append((text, follower[1] if follower[0] == "text" else ""))
    return pairs


@pytest.mark.parametrize("page", PAGES)
def test_every_command_prints_what_the_page_shows(page: str) -> None:
    (start, ready), *others = expected_outputs(page)
    assert start.startswith(PYTHON)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    server = subprocess.Popen(
        ["bash", "-c", f"exec {sys.executable}{start.strip().removeprefix(PYTHON).replace('--port 8081', '--port 0')}"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        address = line.split()[-1]
        assert line.replace(address, ADDRESS) == ready
        script = "".join(f"{block.replace(ADDRESS, address)}\necho '{END_OF_BLOCK}'\n" for block, _ in others)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            check=False,
        )
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=10)
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout.split(f"{END_OF_BLOCK}\n")[:-1]
    for output, (block, expected) in zip(printed, others, strict=True):
        assert NOW.sub(r'\1"now"', output) == NOW.sub(r'\1"now"', expected), block


@pytest.mark.parametrize("page", PAGES)
def test_the_python_example_runs(page: str) -> None:
    [example] = [text for kind, text in BLOCK.findall(PAGES[page]) if kind == "python"]
    subprocess.run([sys.executable, "-W", "error", "-c", example], check=True, timeout=60)


def rows_of(page: str, heading: str) -> set[str]:
    """The names in the first column of the table with this heading."""
    text = PAGES[page]
    table = text[text.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return {name for row in table for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        ("sandbox.md", "setting", set(Settings.model_fields)),
        (
            "sandbox.md",
            "kind",
            {"status", "html", "garbage", "delay", "reset", "lost_reply", "hang", "truncated", "half", "refuse_rows"},
        ),
        ("sandbox.md", "option of a rule", set(FaultRule.model_fields) - {"kind", "status", "body", "applied"}),
        ("sandbox.md", "default key", {key.key for key in DEFAULT_KEYS}),
        ("sandbox-customerio.md", "setting", set(CustomerIoSettings.model_fields)),
        ("sandbox-customerio.md", "default key", set(CustomerIoSettings().keys)),
        ("sandbox-customerio.md", "reason", set(REASONS)),
    ],
)
def test_the_tables_are_complete(page: str, heading: str, names: set[str]) -> None:
    assert rows_of(page, heading) == names
