"""`python -m reverse_etl` is the command `reverse-etl`."""

from __future__ import annotations

import sys

from reverse_etl.cli import main

if __name__ == "__main__":
    sys.exit(main())
