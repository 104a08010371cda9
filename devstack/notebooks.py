"""The notebooks as files: without outputs in git, run from a clean kernel, shown on a page of the documentation.

python -m devstack.notebooks strip    take away outputs and counts
python -m devstack.notebooks page     run all of them, write docs/notebooks.md and its pictures
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

FOLDER = ROOT / "notebooks"
PAGE = ROOT / "docs/notebooks.md"
IMAGES = ROOT / "docs/images"
MADE_FROM_HERE = "<!-- made by make notebooks-page from here on -->\n"
CELL_SECONDS = 60
SETTINGS = ("CUSTOMERIO_", "ITERABLE_", "REVERSE_ETL_", "MPLBACKEND")
"""Beginnings of the variables that would lead a notebook away from the sandbox."""


def notebooks() -> list[Path]:
    """Return the notebooks in their order."""
    return sorted(FOLDER.glob("*.ipynb"))


def stripped(text: str) -> str:
    """Return the text of a notebook without outputs, counts and what an editor remembers of it."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            cell |= {"execution_count": None, "outputs": []}
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def executed(path: Path, folder: Path, environment: Mapping[str, str]) -> Any:  # noqa: ANN401 - nbformat has no types
    """Return the notebook as a clean kernel leaves it, run in `folder`; raises CellExecutionError."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--Application.log_level=ERROR"],  # it warns that loopback is not encrypted
    )
    return client.execute(env=dict(environment))


def clean_environment(folder: Path) -> dict[str, str]:
    """Return this process's variables without those that lead elsewhere; IPython remembers in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return {**kept, "IPYTHONDIR": str(folder / "ipython")}


def section(name: str, notebook: Any) -> tuple[str, dict[str, bytes]]:  # noqa: ANN401
    """Return an executed notebook as Markdown, and its pictures by file name."""
    pictures: dict[str, bytes] = {}
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(re.sub(r"^#", "##", cell.source, flags=re.MULTILINE).replace("](../docs/", "]("))
            continue
        parts.append(f"```python\n{cell.source}\n```")
        text = "".join(_texts(cell.outputs))
        if text:
            parts.append(f"```text\n{text.rstrip()}\n```")
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                file = f"{name}-{len(pictures) + 1}.png"
                pictures[file] = base64.b64decode(output.data["image/png"])
                parts.append(f"![{_axis(cell.source)}](images/{file})")
    heading, *rest = parts
    heading = heading.replace("\n", f"\n\n[{name}.ipynb](../notebooks/{name}.ipynb)\n", 1)
    return "\n\n".join([heading, *rest]) + "\n", pictures


def _texts(outputs: list[Any]) -> Iterator[str]:
    for output in outputs:
        if output.output_type == "stream":
            yield output.text
        elif "image/png" not in output.get("data", {}):
            yield f"{output.data['text/plain']}\n"


def _axis(source: str) -> str:
    found = re.search(r'set_xlabel\("([^"]*)"\)', source)
    return f"Bars: {found[1]}" if found else "Picture"


def _strip() -> None:
    for path in notebooks():
        path.write_text(stripped(path.read_text(encoding="utf-8")), encoding="utf-8")


def _write_page() -> None:
    sections = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in notebooks():
            text, pictures = section(path.stem, executed(path, folder, clean_environment(folder)))
            sections.append(text)
            for file, content in pictures.items():
                (IMAGES / file).write_bytes(content)
    head, _, _ = PAGE.read_text(encoding="utf-8").partition(MADE_FROM_HERE)
    PAGE.write_text("\n".join([head + MADE_FROM_HERE, *sections]), encoding="utf-8")


if __name__ == "__main__":
    {"strip": _strip, "page": _write_page}[sys.argv[1]]()
