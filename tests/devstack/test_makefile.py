"""`make help` names every target, each with what it does, in two columns."""

from __future__ import annotations

import re
import subprocess

from tests.conftest import ROOT


def test_every_target_has_its_line_and_the_lines_are_aligned() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [re.fullmatch(r"(  make ([a-z-]+) +)(\S.*)", line) for line in done.stdout.splitlines()]
    assert all(lines)
    found = [line for line in lines if line]
    assert len({len(line[1]) for line in found}) == 1
    [targets] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [line[2] for line in found] == targets.split()
