from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devstack.notebooks import clean_environment, executed, notebooks
from tests.conftest import ROOT

AT_ONCE = 2


def environment(folder: Path, **variables: str) -> Mapping[str, str]:
    """What a kernel gets: nothing of whoever runs the tests, and a cache of fonts that outlives them."""
    cache = ROOT / ".local/matplotlib"
    return {**clean_environment(folder), "MPLCONFIGDIR": str(cache), "PYTHONWARNINGS": "default", **variables}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Future[Any]]:
    """Every notebook, run once by a clean kernel in a folder that is not the project's."""
    folder = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch:
        # No kernel of whoever runs the tests, and nothing of the tests left with them.
        patch.setenv("JUPYTER_DATA_DIR", str(folder / "jupyter"))
        patch.setenv("JUPYTER_CONFIG_DIR", str(folder / "config"))
        with ThreadPoolExecutor(AT_ONCE) as kernels:
            runs = {
                path.stem: kernels.submit(executed, path, folder, environment(folder))
                for path in sorted(notebooks(), reverse=True)  # the longest first
            }
    return runs
