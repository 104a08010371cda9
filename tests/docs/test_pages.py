"""Every block of every page is checked somehow, quotes are the lines of their file, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.pages import (
    CHECKED_AS_A_WHOLE,
    CHECKED_BY_BEGINNING,
    Block,
    all_blocks,
    anchors,
    links,
    named_paths,
    page_names,
    prose,
    read,
)

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
CHECK_NAMES = re.findall(
    r"\bblock\(\"([\w-]+)\"\)",
    "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")),
)
COMMANDS = {"", "bash", "sh", "shell", "console"}

every_page = pytest.mark.parametrize("page", page_names())


def is_known_command(line: str) -> bool:
    """Whether a line of a shell block names only what exists."""
    match shlex.split(line, comments=True):
        case []:
            return True
        case ["make", target, *variables]:
            return target in TARGETS and all(re.fullmatch(r"[A-Z]+=\S+", variable) for variable in variables)
        case ["git", "clone", *_] | ["cd", _]:
            return True
        case ["cp", source, _]:
            return (ROOT / source).is_file()
        case ["docker", "compose", *_]:
            return (ROOT / "docker-compose.yaml").is_file()
        case [".venv/bin/python", "-m", module, *arguments]:
            return is_runnable(module, arguments)
        case _:
            return False


def is_runnable(module: str, arguments: list[str]) -> bool:
    """Whether `python -m module` exists and its source knows the options."""
    parts = module.split(".")
    roots = (ROOT, ROOT / "plugins")
    names = (Path(*parts, "__main__.py"), Path(*parts).with_suffix(".py"))
    found = [root / name for root in roots for name in names if (root / name).is_file()]
    return bool(found) and all(
        f'"{argument}"' in found[0].read_text(encoding="utf-8") for argument in arguments if argument.startswith("--")
    )


def is_checked(block: Block) -> bool:
    if block.page in CHECKED_AS_A_WHOLE:
        return Path(block.page).name in (ROOT / CHECKED_AS_A_WHOLE[block.page]).read_text(encoding="utf-8")
    match block.how:
        case "from":
            return (ROOT / block.what).is_file()
        case "check:":
            return block.what in CHECK_NAMES
        case "checked by":
            return block.what.startswith("tests/") and (ROOT / block.what).is_file()
    for words, test in CHECKED_BY_BEGINNING.items():
        if block.text.startswith(words):
            return words in (ROOT / test).read_text(encoding="utf-8")
    if block.language == "text":
        return bool(block.follows)
    if block.language in COMMANDS:
        return all(is_known_command(line) for line in block.text.replace("\\\n", " ").splitlines())
    return False


@pytest.mark.parametrize("block", all_blocks(), ids=str)
def test_every_block_is_checked(block: Block) -> None:
    assert is_checked(block), f"nothing checks this {block.language} block; see tests/docs/pages.py for the ways"


@pytest.mark.parametrize(
    "block",
    [
        Block("docs/page.md", 1, "python", "print(1)\n", "", "", ""),
        Block("docs/page.md", 1, "text", "1\n", "", "", ""),
        Block("docs/page.md", 1, "bash", "make run\nrm -rf x\n", "", "", ""),
        Block("docs/page.md", 1, "sql", "SELECT 1;\n", "from", "docs/no-such-file.sql", ""),
        Block("docs/page.md", 1, "bash", "true\n", "check:", "no-such-name", ""),
        Block("docs/page.md", 1, "bash", "true\n", "checked by", "tests/no_such_test.py", ""),
    ],
    ids=lambda block: f"{block.language} {block.what}",
)
def test_a_block_that_nothing_checks_is_noticed(block: Block) -> None:
    assert not is_checked(block)


@pytest.mark.parametrize("block", [block for block in all_blocks() if block.how == "from"], ids=str)
def test_a_quote_is_a_run_of_lines_of_its_file(block: Block) -> None:
    assert f"\n{block.text}" in f"\n{(ROOT / block.what).read_text(encoding='utf-8')}"


def test_every_name_that_is_checked_is_on_one_page() -> None:
    on_pages = [block.what for block in all_blocks() if block.how == "check:"]
    assert sorted(on_pages) == sorted(set(CHECK_NAMES))


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("make run DATE=2026-01-12  # another day", True),
        ("make no-such-target", False),
        ("make run and more", False),
        ("cp .env.example .env", True),
        ("cp no-such-file .env", False),
        (".venv/bin/python -m reverse_etl.sandbox --port 8081", True),
        (".venv/bin/python -m reverse_etl.sandbox --prot 8081", False),
        (".venv/bin/python -m no.such.module", False),
        ("rm -rf x", False),
        ("curl http://127.0.0.1", False),
    ],
)
def test_a_command_is_known_or_not(line: str, known: bool) -> None:
    assert is_known_command(line) is known


@every_page
def test_links_lead_somewhere(page: str) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), link
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page} links to {link}, which does not exist"
        if anchor:
            assert anchor in anchors(str(target.resolve().relative_to(ROOT))), (
                f"{page} links to {link}: no such heading"
            )


@every_page
def test_paths_that_are_named_exist(page: str) -> None:
    assert [str(path) for path in named_paths(page) if not any(path.parent.glob(path.name)) and not path.is_dir()] == []


@every_page
def test_paths_of_one_persons_machine_stay_out(page: str) -> None:
    assert not re.search(r"(?<![\w/])/(?:work|root|tmp)/", read(page))


def test_the_index_names_every_page() -> None:
    named = {(Path("docs") / link).as_posix() for link in links("docs/README.md")}
    assert named == {page for page in page_names() if page.startswith("docs/")} - {"docs/README.md"}


@pytest.mark.parametrize("page", [page for page in page_names() if page.startswith("docs/adr/")])
def test_a_decision_says_what_why_and_what_it_costs(page: str) -> None:
    assert re.match(r"# (\d{4}): ", read(page)), "the title begins with the number"
    assert read(page)[2:6] == Path(page).name[:4]
    bold = re.findall(r"^\*\*(\w+)", prose(page), re.MULTILINE)
    assert bold == ["Context", "Decision", "Why", "Cost", "Checked"]
    assert len(read(page).splitlines()) <= 60
