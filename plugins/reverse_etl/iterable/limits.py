"""Iterable's published limits, one table. Source: its OpenAPI document, operation descriptions, read in 2026."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LARGEST_BODY_BYTES = 4_000_000
"""Documented as 4 MB for bulk updates without saying which megabyte; the smaller one is safe."""

LONGEST_USER_ID = 52
"""Characters of a userId, printable ASCII. Source: support article on creating users with the API."""


class Endpoint(StrEnum):
    """Paths of the API."""

    USER_UPDATE = "/api/users/update"
    EVENT_TRACK = "/api/events/track"


@dataclass(frozen=True, slots=True)
class Limit:
    """Requests per second and project."""

    per_second: float


LIMITS = {
    Endpoint.USER_UPDATE: Limit(per_second=500),
    Endpoint.EVENT_TRACK: Limit(per_second=2000),
}

HEADROOM = 0.99
"""Share of a limit we use, so that two clocks that differ by a hair cause no 429."""
