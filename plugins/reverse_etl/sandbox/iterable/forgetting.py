"""The GDPR endpoints: forget deletes a person and blocks the identifiers; unforget lifts the block.

From Iterable's support article "GDPR" (360029174171): blocked identifiers are kept as SHA-256 hashes.
"""

from __future__ import annotations

from reverse_etl.sandbox.exchange import Answer, Request, json_answer
from reverse_etl.sandbox.iterable import checks
from reverse_etl.sandbox.iterable.answers import bad_params, refused, success
from reverse_etl.sandbox.iterable.auth import Identity
from reverse_etl.sandbox.iterable.context import Context
from reverse_etl.sandbox.iterable.identity import NO_IDENTIFIER


def forget(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """POST /api/users/forget."""
    state = context.state
    email, user_id = _one_identifier(context, request)
    if state.is_forgotten(email, user_id):
        return success("The user is already forgotten")
    users = state.with_email(email) if email is not None else state.with_user_id(user_id or "")
    if not users:
        raise refused(400, "GenericError", "The user does not exist")
    for user in users:
        state.remove(user)
        state.forget(user.email, user.user_id)
    return success("The user was forgotten")


def unforget(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """POST /api/users/unforget: a success whether or not the person was forgotten."""
    context.state.unforget(*_one_identifier(context, request))
    return success("The user was unforgotten")


def forgotten_emails(context: Context, _request: Request, _identity: Identity | None) -> Answer:
    """GET /api/users/forgotten: an error in a userID-based project."""
    if context.settings.project_type == "userid":
        raise bad_params("A userID-based project has no forgotten emails")
    return json_answer(200, {"hashedEmails": sorted(context.state.forgotten_emails)})


def forgotten_user_ids(context: Context, _request: Request, _identity: Identity | None) -> Answer:
    """GET /api/users/forgottenUserIds: an error in an email-based project."""
    if context.settings.project_type == "email":
        raise bad_params("An email-based project has no forgotten userIds")
    return json_answer(200, {"hashedUserIds": sorted(context.state.forgotten_user_ids)})


def _one_identifier(context: Context, request: Request) -> tuple[str | None, str | None]:
    """Return the one identifier of the body that this type of project accepts."""
    body = checks.check_body(request.path, request.payload, checks.ONE_USER)
    email, user_id = checks.identifiers(body, context.settings, NO_IDENTIFIER)
    if email is not None and user_id is not None:
        raise bad_params("Give email or userId, not both")
    if context.settings.project_type == "email" and email is None:
        raise bad_params("An email-based project forgets users by email")
    if context.settings.project_type == "userid" and user_id is None:
        raise bad_params("A userID-based project forgets users by userId")
    return email, user_id
