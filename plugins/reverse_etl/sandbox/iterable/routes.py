"""Which method and path lead to which endpoint, and which keys may call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from reverse_etl.sandbox.iterable import bulk, events, forgetting, lists, users
from reverse_etl.sandbox.iterable.auth import SERVER_ONLY, SERVER_OR_CLIENT, SERVER_OR_READONLY
from reverse_etl.sandbox.iterable.context import Handler
from reverse_etl.sandbox.settings import KeyType


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint; `name` is its method and path template, `keys` the key types that may call it.

    `rows` is the key of the body that holds the rows of a bulk request, None for another endpoint.
    """

    name: str
    keys: frozenset[KeyType]
    handler: Handler
    rows: str | None = None


# Key types from Iterable's support article "API Keys" (360043464871).
ENDPOINTS: Final = (
    Endpoint("POST /api/users/update", SERVER_OR_CLIENT, users.update),
    Endpoint("POST /api/users/bulkUpdate", SERVER_ONLY, bulk.update_users, bulk.USERS),
    Endpoint("POST /api/events/track", SERVER_OR_CLIENT, events.track),
    Endpoint("POST /api/events/trackBulk", SERVER_ONLY, bulk.track_events, bulk.EVENTS),
    Endpoint("GET /api/users/{email}", SERVER_ONLY, users.get_by_email),
    Endpoint("GET /api/users/getByEmail", SERVER_ONLY, users.get_by_email),
    Endpoint("GET /api/users/byUserId/{userId}", SERVER_ONLY, users.get_by_user_id),
    Endpoint("GET /api/users/byUserId", SERVER_ONLY, users.get_by_user_id),
    Endpoint("GET /api/users/getFields", SERVER_OR_READONLY, users.get_fields),
    Endpoint("GET /api/events/{email}", SERVER_ONLY, events.get_by_email),
    Endpoint("GET /api/events/byUserId/{userId}", SERVER_ONLY, events.get_by_user_id),
    Endpoint("DELETE /api/users/{email}", SERVER_ONLY, users.delete_by_email),
    Endpoint("DELETE /api/users/byUserId/{userId}", SERVER_ONLY, users.delete_by_user_id),
    Endpoint("POST /api/users/forget", SERVER_ONLY, forgetting.forget),
    Endpoint("POST /api/users/unforget", SERVER_ONLY, forgetting.unforget),
    Endpoint("GET /api/users/forgotten", SERVER_ONLY, forgetting.forgotten_emails),
    Endpoint("GET /api/users/forgottenUserIds", SERVER_ONLY, forgetting.forgotten_user_ids),
    Endpoint("GET /api/lists", SERVER_OR_READONLY, lists.get_lists),
    Endpoint("POST /api/lists", SERVER_ONLY, lists.create),
    Endpoint("POST /api/lists/subscribe", SERVER_ONLY, lists.subscribe, lists.SUBSCRIBERS),
    Endpoint("POST /api/lists/unsubscribe", SERVER_ONLY, lists.unsubscribe, lists.SUBSCRIBERS),
)

_FIXED: Final = {endpoint.name: endpoint for endpoint in ENDPOINTS if "{" not in endpoint.name}
_VARIABLE: Final = {endpoint.name.partition("{")[0]: endpoint for endpoint in ENDPOINTS if "{" in endpoint.name}


def resolve(method: str, raw_path: str) -> tuple[Endpoint, str] | None:
    """Return the endpoint and the percent-decoded variable part of the path, or None when there is none."""
    name = f"{method} {raw_path}"
    endpoint = _FIXED.get(name)
    if endpoint is not None:
        return endpoint, ""
    stem, slash, argument = name.rpartition("/")
    endpoint = _VARIABLE.get(stem + slash)
    if endpoint is None or not argument:
        return None
    return endpoint, unquote(argument)
