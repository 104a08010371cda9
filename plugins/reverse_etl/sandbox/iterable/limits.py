"""The rate limits Iterable publishes, per project (API reference at https://api.iterable.com/api-docs).

An endpoint without a published limit has an empty tuple. A bucket holds one period's worth of requests.
"""

from __future__ import annotations

from typing import Final

from reverse_etl.sandbox.limits import Limit

DAY: Final = 86_400
_FORGET: Final = (Limit(3), Limit(1000, DAY))

PUBLISHED_LIMITS: Final[dict[str, tuple[Limit, ...]]] = {
    "POST /api/users/update": (Limit(500),),
    "POST /api/users/bulkUpdate": (Limit(5),),
    "POST /api/events/track": (Limit(2000),),
    "POST /api/events/trackBulk": (Limit(10),),
    "GET /api/users/{email}": (Limit(100),),
    "GET /api/users/getByEmail": (Limit(100),),
    "GET /api/users/byUserId/{userId}": (Limit(100),),
    "GET /api/users/byUserId": (Limit(100),),
    "GET /api/users/getFields": (Limit(3),),
    "GET /api/events/{email}": (Limit(100),),
    "GET /api/events/byUserId/{userId}": (Limit(100),),
    "DELETE /api/users/{email}": (Limit(100),),
    "DELETE /api/users/byUserId/{userId}": (Limit(100),),
    "POST /api/users/forget": _FORGET,
    "POST /api/users/unforget": _FORGET,
    "GET /api/users/forgotten": (Limit(3),),
    "GET /api/users/forgottenUserIds": (Limit(3),),
    "GET /api/lists": (Limit(100),),
    "POST /api/lists": (),
    "POST /api/lists/subscribe": (),
    "POST /api/lists/unsubscribe": (),
}
