"""The vendors' OpenAPI documents; tests that need them are skipped where the folder is absent."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

FOLDER = Path(os.environ.get("REVERSE_ETL_SPECS") or ROOT.parent / "shared/specs")


@cache
def spec(name: str) -> Any:
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"no {name} in shared/specs beside the project; set REVERSE_ETL_SPECS to the folder with it")
    return json.loads(path.read_text(encoding="utf-8"))
