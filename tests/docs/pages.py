"""The documentation as data: its fenced blocks, each with the way it is checked, its tables and its links.

A block is checked in one of these ways; a block without one fails `test_every_block_is_checked`:

- `<!-- from PATH -->` on the line before: it is a run of lines of that file, which a test runs
- `<!-- check: NAME -->` on the line before: a test of this folder asks for `block("NAME")` and runs it
- `<!-- checked by PATH -->` on the line before: that test file checks the whole page
- commands whose every line is known to `tests/docs/test_pages.py`, such as `make` with a target of the Makefile
- its first words are in CHECKED_BY_BEGINNING, its page is in CHECKED_AS_A_WHOLE: that test file checks it
- a `text` block right after a block that is checked by name: its output
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

CHECKED_AS_A_WHOLE = {
    "docs/notebooks.md": "tests/notebooks/test_execution.py",
    "docs/sandbox.md": "tests/sandbox/test_docs.py",
    "docs/sandbox-customerio.md": "tests/sandbox/test_docs.py",
}
CHECKED_BY_BEGINNING = {
    "iterable_page_views for ": "tests/docs/test_readme.py",
    "check --> MySQL --extract--> ": "tests/docs/test_readme.py",
}

_BLOCK = re.compile(
    r"^(?:<!-- (?P<how>from|check:|checked by) (?P<what>\S+) -->\n)?```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_PROJECT_PATH = re.compile(r"`((?:dags|devstack|docs|include|plugins|tests)/[^`\s]*)`")


@dataclass(frozen=True)
class Block:
    """A fenced block; `how` and `what` are those of the comment before it, or empty."""

    page: str
    line: int
    language: str
    text: str
    how: str
    what: str
    follows: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def page_names() -> list[str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(path.relative_to(ROOT)) for path in pages if path.is_file()]


@cache
def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", read(page))


def blocks_of(page: str) -> list[Block]:
    text = read(page)
    found: list[Block] = []
    end = 0
    for match in _BLOCK.finditer(text):
        before = found[-1].what if found and found[-1].how == "check:" and not text[end : match.start()].strip() else ""
        found.append(
            Block(
                page,
                text.count("\n", 0, match.start()) + 1,
                match["language"],
                match["text"],
                match["how"] or "",
                match["what"] or "",
                before,
            )
        )
        end = match.end()
    return found


def all_blocks() -> list[Block]:
    return [block for page in page_names() for block in blocks_of(page)]


def block(name: str) -> str:
    """The text of the one block with `<!-- check: NAME -->`."""
    (found,) = [found for found in all_blocks() if (found.how, found.what) == ("check:", name)]
    return found.text


def block_that_begins(words: str) -> str:
    (found,) = [found for found in all_blocks() if found.text.startswith(words)]
    return found.text


def output_of(name: str) -> str:
    """The text block right after the block of that name."""
    (found,) = [found for found in all_blocks() if found.follows == name and found.language == "text"]
    return found.text


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    text = read(page)
    lines = text[text.index(f"\n| {heading} |") + 1 :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def code(cell: str) -> str:
    """What stands between the first pair of backticks of a cell."""
    found = re.search(r"`([^`]*)`", cell)
    assert found, f"no code in {cell!r}"
    return found[1]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell)


def links(page: str) -> list[str]:
    return _LINK.findall(prose(page))


def anchors(page: str) -> set[str]:
    """The anchors GitHub gives the page's headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in _HEADING.findall(prose(page))
    }


def named_paths(page: str) -> list[Path]:
    """The paths of the project that the prose names in backticks."""
    return [ROOT / name.split("::")[0] for name in _PROJECT_PATH.findall(prose(page)) if "<" not in name]
