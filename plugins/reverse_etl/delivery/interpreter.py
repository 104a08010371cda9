"""Settings of the Python interpreter while a batch is delivered."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_SECONDS = 0.0005
"""Python's default is 0.005. The ledger's thread needs the interpreter some ten times for every request it records, and
beside a busy event loop waits so long each time."""

OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Python's default is 700: with thousands of rows under way most collections find nothing."""


@contextmanager
def tuned() -> Iterator[None]:
    """Let the ledger's thread in sooner, and collect garbage less: what is loaded by now is not gone through at all.

    Garbage of before is not collected first: beside Airflow that takes as long as some thousand rows.
    """
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *thresholds[1:])
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
