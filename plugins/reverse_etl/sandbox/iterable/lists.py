"""The list endpoints: only the list of lists, which is empty."""

from __future__ import annotations

from reverse_etl.sandbox.exchange import Answer, Request, json_answer
from reverse_etl.sandbox.iterable.auth import Identity
from reverse_etl.sandbox.iterable.context import Context


def get_lists(_context: Context, _request: Request, _identity: Identity | None) -> Answer:
    """GET /api/lists."""
    return json_answer(200, {"lists": []})
