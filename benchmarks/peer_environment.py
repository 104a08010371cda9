"""Environments of their own for peers: what they depend on stays apart from what the project depends on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

DRT = Path(__file__).with_name("requirements-drt.txt")
CUSTOMERIO_SDK = Path(__file__).with_name("requirements-customerio-sdk.txt")
INSTALLS_WITHIN_SECONDS = 300.0


class NotInstalledError(Exception):
    """A peer cannot be installed here; the message says why."""


def installed(folder: Path, requirements: Path, tools: Path) -> Path:
    """Return the folder of programs of the environment `folder`, made if it is not there with these requirements.

    `tools` is the folder where devstack/bootstrap.sh keeps uv, for when there is none on the PATH. Raises
    NotInstalledError.
    """
    programs = folder / "bin"
    stamp = folder / requirements.name
    wanted = requirements.read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return programs
    uv = shutil.which("uv") or shutil.which("uv", path=str(tools))
    if uv is None:
        raise NotInstalledError("uv, which installs it, is neither on the PATH nor where make check puts it")
    shutil.rmtree(folder, ignore_errors=True)
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    python = str(programs / "python")
    _run([uv, "pip", "install", "--quiet", "--python", python, "--requirement", str(requirements)])
    stamp.write_text(wanted, encoding="utf-8")
    return programs


def _run(command: list[str]) -> None:
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=INSTALLS_WITHIN_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"{' '.join(command[1:3])} took longer than {INSTALLS_WITHIN_SECONDS:.0f} s") from None
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["no output"])[-1].strip()
        raise NotInstalledError(f"{' '.join(command[1:3])} failed: {last}")
