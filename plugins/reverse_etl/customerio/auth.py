"""How a key authenticates, and what it tells of itself."""

from __future__ import annotations

import base64
import re

from reverse_etl.customerio.limits import Region

PREFIX = re.compile(r"(pk|sk)_(us|eu)_")
"""Of the newer keys. Source: Customer.io's release note on public and private keys, and its Python SDK."""


def region_of(key: str) -> Region | None:
    """Return the region a newer key names; classic keys name none."""
    found = PREFIX.match(key)
    return Region(found[2]) if found else None


def is_public(key: str) -> bool:
    """Whether the key is one for browsers and apps."""
    found = PREFIX.match(key)
    return found is not None and found[1] == "pk"


def authorization(key: str) -> str:
    """Return the Authorization header: Bearer for newer keys, Basic with an empty password for classic ones."""
    if PREFIX.match(key):
        return f"Bearer {key}"
    return f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"
