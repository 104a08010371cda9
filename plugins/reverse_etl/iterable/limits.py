"""Iterable's published limits, one table. Source: its OpenAPI document, operation descriptions, read in 2026."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LARGEST_BODY_BYTES = 4_000_000
"""Documented as 4 MB for bulk updates without saying which megabyte; the smaller one is safe."""

LARGEST_CALL_BYTES = 3_999_900
"""Bytes of one call: with what is around it, it fits into a bulk request of its own."""

BULK_ROWS = 1_000
"""Rows of a bulk request. The number is not published; the vendor's and other connectors keep to 1,000."""

BULK_BODY_BYTES = 3_990_000
"""Bytes of the rows in a bulk request; what is around and between them fits in the rest."""

BULK_REQUESTS_IN_FLIGHT = 8
"""Bulk requests carry up to 4 MB each, and more than a few of them only queue behind the limit of 5 per second."""

LONGEST_USER_ID = 52
"""Characters of a userId, printable ASCII. Source: support article on creating users with the API."""


class Endpoint(StrEnum):
    """Paths of the API."""

    USER_UPDATE = "/api/users/update"
    EVENT_TRACK = "/api/events/track"
    USER_BULK_UPDATE = "/api/users/bulkUpdate"
    EVENT_TRACK_BULK = "/api/events/trackBulk"
    USER_FIELDS = "/api/users/getFields"
    USER_FORGET = "/api/users/forget"
    USER_UNFORGET = "/api/users/unforget"
    USER_DELETE = "/api/users/{email}"
    USER_DELETE_BY_ID = "/api/users/byUserId/{userId}"
    LIST_UNSUBSCRIBE = "/api/lists/unsubscribe"


@dataclass(frozen=True, slots=True)
class Limit:
    """Requests per second and project."""

    per_second: float


LIMITS = {
    Endpoint.USER_UPDATE: Limit(per_second=500),
    Endpoint.EVENT_TRACK: Limit(per_second=2000),
    Endpoint.USER_BULK_UPDATE: Limit(per_second=5),
    Endpoint.EVENT_TRACK_BULK: Limit(per_second=10),
    Endpoint.USER_FIELDS: Limit(per_second=3),
    Endpoint.USER_FORGET: Limit(per_second=3),
    Endpoint.USER_UNFORGET: Limit(per_second=3),
    Endpoint.USER_DELETE: Limit(per_second=100),
    Endpoint.USER_DELETE_BY_ID: Limit(per_second=100),
    # None is published; that of the other bulk endpoint for users.
    Endpoint.LIST_UNSUBSCRIBE: Limit(per_second=5),
}

FORGET_PER_DAY = 1_000
"""Requests in 24 hours, of forget and of unforget each."""

HEADROOM = 0.99
"""Share of a limit we use, so that two clocks that differ by a hair cause no 429."""
