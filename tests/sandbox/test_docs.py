"""The commands of docs/sandbox.md do what the page says, and its tables name what exists."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reverse_etl.sandbox.faults import FaultRule
from reverse_etl.sandbox.settings import DEFAULT_KEYS, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
BLOCKS = re.findall(r"^```(bash|text|python)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8080"
NOW = re.compile(r'("(?:signupDate|profileUpdatedAt)":)"[^"]+"')
END_OF_BLOCK = "--- end of block ---"


def expected_outputs() -> list[tuple[str, str]]:
    """Each bash block with the text block right after it, or no output."""
    pairs = []
    for position, (kind, text) in enumerate(BLOCKS):
        if kind == "bash":
            follower = BLOCKS[position + 1] if position + 1 < len(BLOCKS) else ("", "")
            pairs.append((text, follower[1] if follower[0] == "text" else ""))
    return pairs


def test_every_command_prints_what_the_page_shows() -> None:
    (start, ready), *others = expected_outputs()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    server = subprocess.Popen(
        ["bash", "-c", f"exec {start.strip().replace('--port 8080', '--port 0')}"],
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


def test_the_python_example_runs() -> None:
    [example] = [text for kind, text in BLOCKS if kind == "python"]
    subprocess.run([sys.executable, "-W", "error", "-c", example], check=True, timeout=60)


def rows_of(heading: str) -> set[str]:
    """The names in the first column of the table with this heading."""
    table = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return {name for row in table for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("setting", set(Settings.model_fields)),
        (
            "kind",
            {"status", "html", "garbage", "delay", "reset", "lost_reply", "hang", "truncated", "half", "refuse_rows"},
        ),
        ("option of a rule", set(FaultRule.model_fields) - {"kind", "status", "body", "applied"}),
        ("default key", {key.key for key in DEFAULT_KEYS}),
    ],
)
def test_the_tables_are_complete(heading: str, names: set[str]) -> None:
    assert rows_of(heading) == names
