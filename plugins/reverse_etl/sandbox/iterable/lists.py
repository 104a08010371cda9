"""The list endpoints: static lists that are made here, users put on them, and taken off again.

Every list belongs to the one e-mail channel of the project.
"""

from __future__ import annotations

from typing import Any, Final

from reverse_etl.sandbox.exchange import Answer, Request, json_answer
from reverse_etl.sandbox.iterable import checks, users
from reverse_etl.sandbox.iterable.answers import refused
from reverse_etl.sandbox.iterable.auth import Identity
from reverse_etl.sandbox.iterable.bulk import BULK_REASONS, Row, checked_rows, run_rows, succeed
from reverse_etl.sandbox.iterable.bulk_result import USER_ANSWER, BulkResult
from reverse_etl.sandbox.iterable.context import Context
from reverse_etl.sandbox.iterable.identity import NO_IDENTIFIER
from reverse_etl.sandbox.iterable.state import CHANNEL, User

SUBSCRIBERS: Final = "subscribers"


def get_lists(context: Context, _request: Request, _identity: Identity | None) -> Answer:
    """GET /api/lists."""
    found = [{"id": number, "name": name, "listType": "Standard"} for number, name in context.state.lists.items()]
    return json_answer(200, {"lists": found})


def create(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """POST /api/lists."""
    body = checks.check_body(request.path, request.payload, {"name": str, "description": str}, ("name",))
    return json_answer(200, {"listId": context.state.add_list(body["name"])})


def subscribe(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """POST /api/lists/subscribe: put users on a list, creating those who are not there."""
    number, rows, _ = _read(context, request, checks.BULK_USER)
    result = BulkResult(USER_ANSWER)
    subscribed: list[Row] = []

    def apply(row: Row) -> None:
        email, user_id = checks.identifiers(row, context.settings, NO_IDENTIFIER)
        succeed(result, users.apply_update(context, row, email, user_id, create_new=None))
        subscribed.append(row)

    answer = run_rows(context, request, rows, result, apply, BULK_REASONS)
    for row in subscribed:
        for user in _users(context, row):
            user.lists = tuple(sorted({*user.lists, number}))
    return answer


def unsubscribe(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """POST /api/lists/unsubscribe: take users off a list, who need not be on it, and off its channel if asked to."""
    number, rows, body = _read(context, request, checks.ONE_USER)
    result = BulkResult(USER_ANSWER)

    def apply(row: Row) -> None:
        found = _users(context, row)
        if not found:
            raise refused(400, "UnknownEmailError", "The user does not exist")
        for user in found:
            user.lists = tuple(other for other in user.lists if other != number)
            if body.get("channelUnsubscribe"):
                user.unsubscribed = (CHANNEL,)
        result.succeed()

    return run_rows(context, request, rows, result, apply, BULK_REASONS)


def _read(context: Context, request: Request, shape: checks.Shape) -> tuple[int, list[Row], dict[str, Any]]:
    """Return the number of the list, the rows and the body; raises RefusedError."""
    allowed = {"listId": int, SUBSCRIBERS: list, "channelUnsubscribe": bool, "updateExistingUsersOnly": bool}
    body = checks.check_body(request.path, request.payload, allowed, ("listId", SUBSCRIBERS))
    number = body["listId"]
    rows = checked_rows(context, request, body[SUBSCRIBERS], SUBSCRIBERS, shape)
    if number not in context.state.lists:
        # The code of the live API, recorded by others.
        params = {"projectId": context.settings.project_id, "listId": number}
        raise refused(400, "Success", f"error.lists.invalidListId({number})", params)
    return number, rows, body


def _users(context: Context, row: Row) -> tuple[User, ...]:
    email, user_id = checks.identifiers(row, context.settings, NO_IDENTIFIER)
    return context.state.with_email(email) if email is not None else context.state.with_user_id(user_id or "")
