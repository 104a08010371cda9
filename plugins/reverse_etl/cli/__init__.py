"""The command `reverse-etl`: looking ahead, what is in quarantine, sending it again, forgetting."""

from __future__ import annotations

from reverse_etl.cli.main import main

__all__ = ["main"]
