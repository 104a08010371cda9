"""The bulk endpoints: users/bulkUpdate and events/trackBulk.

Each row goes through what a single call goes through. What refuses the whole request leaves nothing of it behind; what
refuses a row is listed in an answer with status 200.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from reverse_etl.sandbox.exchange import Answer, Request, json_answer
from reverse_etl.sandbox.iterable import checks, events, users
from reverse_etl.sandbox.iterable.answers import ApiRefusedError, refused
from reverse_etl.sandbox.iterable.auth import Identity
from reverse_etl.sandbox.iterable.bulk_result import EVENT_ANSWER, USER_ANSWER, BulkResult
from reverse_etl.sandbox.iterable.context import Context
from reverse_etl.sandbox.iterable.fields import FieldCheck
from reverse_etl.sandbox.iterable.identity import NO_IDENTIFIER
from reverse_etl.sandbox.settings import Settings

USERS: Final = "users"
EVENTS: Final = "events"

Row = dict[str, Any]

BULK_REASONS: Final = {
    "InvalidEmailAddressError": "invalid",
    "InvalidUserIdError": "invalid",
    "ForgottenUserError": "forgotten",
    "ExternalKeyConflict": "conflict",
    "UnknownEmailError": "notFound",
    "UnknownUserIdError": "notFound",
}
"""The lists of failedUpdates by the code of the single call's error."""


def update_users(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """POST /api/users/bulkUpdate: update or create each user of the list."""
    body = checks.check_body(request.path, request.payload, {USERS: list, "createNewFields": bool}, (USERS,))
    rows = checked_rows(context, request, body[USERS], USERS, checks.BULK_USER)
    if not rows:
        raise refused(400, "InvalidEmailAddressError", "Emails invalid: ")
    create_new = body.get("createNewFields")
    result = BulkResult(USER_ANSWER)

    def apply(row: Row) -> None:
        email, user_id = checks.identifiers(row, context.settings, NO_IDENTIFIER)
        succeed(result, users.apply_update(context, row, email, user_id, create_new=create_new))

    reasons = BULK_REASONS
    if context.settings.bulk_unknown_user_id == "invalid":
        reasons = {**BULK_REASONS, "UnknownUserIdError": "invalid"}
    return run_rows(context, request, rows, result, apply, reasons)


def track_events(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """POST /api/events/trackBulk: add each event of the list, or overwrite the event with the same id."""
    settings = context.settings
    body = checks.check_body(request.path, request.payload, {EVENTS: list}, (EVENTS,))
    rows = checked_rows(context, request, body[EVENTS], EVENTS, checks.TRACK, ("eventName",))
    result = BulkResult(EVENT_ANSWER)

    def apply(row: Row) -> None:
        email, user_id = checks.identifiers(row, settings, events.NO_IDENTIFIER)
        if row["eventName"] in settings.disallowed_event_names:
            result.disallow(row["eventName"], fails=settings.disallowed_events_fail)
            return
        _, check = events.add_event(context, row, email, user_id, drop_unknown=False)
        succeed(result, check)

    return run_rows(context, request, rows, result, apply, BULK_REASONS)


def checked_rows(
    context: Context, request: Request, rows: list[Any], key: str, shape: checks.Shape, required: tuple[str, ...] = ()
) -> list[Row]:
    """Return the rows when there are not too many and all have the right shape; raises RefusedError."""
    most = context.settings.max_bulk_items
    if most is not None and len(rows) > most:
        raise refused(400, "BatchTooLarge", f"The batch has {len(rows)} items; at most {most} are allowed")
    checks.check_rows(request.path, key, rows, shape, required)
    return rows


def succeed(result: BulkResult, check: FieldCheck | None) -> None:
    """Count a row that was applied, with what its fields did to the project."""
    result.succeed()
    if check is not None:
        result.add_fields(check.created, check.filtered_out)


def run_rows(
    context: Context,
    request: Request,
    rows: list[Row],
    result: BulkResult,
    apply: Callable[[Row], None],
    reasons: dict[str, str],
) -> Answer:
    """Apply the rows in order and say what became of them; raises RefusedError, with nothing changed."""
    settings, fault = context.settings, request.row_refusal
    fatal = _fatal_codes(settings)
    with context.state.all_or_nothing():
        for row in rows:
            if fault is not None and fault.refuses(row):
                _refuse(result, row, fault.list, settings)
                continue
            try:
                apply(row)
            except ApiRefusedError as refusal:
                if refusal.code in fatal:
                    raise
                _note(result, row, refusal, reasons.get(refusal.code, ""), settings)
    return json_answer(200, result.as_dict(settings.bulk_lists))


def _fatal_codes(settings: Settings) -> frozenset[str]:
    """Return the codes of what refuses the whole request."""
    codes = {"UniqueFieldsLimitExceeded"}
    if settings.bulk_type_mismatch == "request":
        codes.add("RequestFieldsTypesMismatched")
    if settings.bulk_conflict == "request":
        codes.add("ExternalKeyConflict")
    return frozenset(codes)


def _note(result: BulkResult, row: Row, refusal: ApiRefusedError, reason: str, settings: Settings) -> None:
    """List a refused row by the identifier at fault, or by its own when none is."""
    if refusal.email is None and refusal.user_id is None:
        result.fail(reason, *_identifiers(row, settings))
    else:
        result.fail(reason, refusal.email, refusal.user_id)


def _refuse(result: BulkResult, row: Row, name: str | None, settings: Settings) -> None:
    """List a row that a fault refuses."""
    if name is None or name == "unexplained":
        result.fail_unlisted()
    else:
        result.fail_in(name, *_identifiers(row, settings))


def _identifiers(row: Row, settings: Settings) -> tuple[str | None, str | None]:
    email = row.get("email")
    return None if email is None else checks.fold_email(email, settings), row.get("userId")
