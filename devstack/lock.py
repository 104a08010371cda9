"""One make run, make up or make down at a time in one project folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.errors import DevstackError


@contextmanager
def exclusive(path: Path, purpose: str) -> Iterator[None]:
    """Hold the lock file; raise DevstackError naming its holder when another process has it.

    The kernel drops the lock with its holder, so a killed process leaves nothing to clean up.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another make command"
            raise DevstackError(
                f"{holder} is at work in this folder. Wait until it has ended, or stop it, then try again."
            ) from error
        file.truncate(0)
        file.write(f"{purpose} (process {os.getpid()})")
        file.flush()
        yield
        file.truncate(0)
