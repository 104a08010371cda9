"""The user endpoints: update, read, delete, field types."""

from __future__ import annotations

from typing import Any, Final

import orjson

from reverse_etl.sandbox.exchange import Answer, Request, json_answer
from reverse_etl.sandbox.iterable import checks
from reverse_etl.sandbox.iterable.answers import USER_UPDATED, bad_params, refused, success
from reverse_etl.sandbox.iterable.auth import Identity
from reverse_etl.sandbox.iterable.context import Context
from reverse_etl.sandbox.iterable.fields import FieldCheck, merged, timestamp_text
from reverse_etl.sandbox.iterable.identity import NO_IDENTIFIER, Target, Wanted, find_target
from reverse_etl.sandbox.iterable.state import EMPTY, User, packed

# Iterable manages these; from its support article "User Profile Fields Used by Iterable" (217744303).
RESERVED_FIELDS: Final = frozenset(
    {
        "devices",
        "emailListIds",
        "itblDS",
        "itblInternal",
        "itblUserId",
        "profileUpdatedAt",
        "receivedSMSDisclaimer",
        "shoppingCartItems",
        "signupDate",
        "signupSource",
        "subscribedMessageTypeIds",
        "unsubscribedChannelIds",
        "unsubscribedMessageTypeIds",
    }
)


def update(context: Context, request: Request, identity: Identity | None) -> Answer:
    """POST /api/users/update: create the user or merge the fields into its profile."""
    body = checks.check_body(request.path, request.payload, checks.USER_UPDATE)
    email, user_id = checks.identifiers(body, context.settings, NO_IDENTIFIER)
    context.check_token(request, identity, email, user_id)
    apply_update(context, body, email, user_id, create_new=body.get("createNewFields"))
    return USER_UPDATED


def apply_update(
    context: Context, body: dict[str, Any], email: str | None, user_id: str | None, *, create_new: bool | None
) -> FieldCheck | None:
    """Do what one update asks for; return the check of its fields, None when it has none.

    Raises RefusedError, with nothing changed but the count of ignored fields.
    """
    fields = open_fields(context, body.get("dataFields") or {}, RESERVED_FIELDS)
    wanted = _wanted(context, body, fields, email, user_id)
    context.refuse_forgotten(email, user_id)
    context.refuse_forgotten(wanted.new_email, wanted.new_user_id)
    target = find_target(context.state, context.settings, wanted)
    plain = {name: value for name, value in fields.items() if name not in ("email", "userId")}
    check = None
    if plain:
        check = FieldCheck(context.state.user_schema(), context.settings, create_new=create_new)
        plain = check.run(plain, context.settings.project_id, context.settings.user_fields_limit)
    _commit(context, target, plain, merge_nested=bool(body.get("mergeNestedObjects")))
    return check


def open_fields(context: Context, fields: dict[str, Any], reserved: frozenset[str]) -> dict[str, Any]:
    """Return the fields without reserved ones; raises RefusedError (BadParams) when settings refuse those."""
    found = reserved.intersection(fields)
    if not found:
        return fields
    if context.settings.reserved_fields == "reject":
        raise bad_params(f"Reserved fields cannot be set: {', '.join(sorted(found))}")
    context.state.reserved_fields_ignored += len(found)
    return {name: value for name, value in fields.items() if name not in reserved}


def _wanted(
    context: Context, body: dict[str, Any], fields: dict[str, Any], email: str | None, user_id: str | None
) -> Wanted:
    """Read the identifiers, also those inside dataFields, which change the user's own."""
    new_email, new_user_id = fields.get("email"), fields.get("userId")
    if new_email is not None:
        new_email = checks.clean_email(_text(new_email, "email"), context.settings)
    if new_user_id is not None:
        new_user_id = checks.check_user_id(_text(new_user_id, "userId"))
    return Wanted(email, user_id, new_email, new_user_id, prefer_user_id=bool(body.get("preferUserId")))


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise bad_params(f"dataFields.{name} must be a string")
    return value


def _commit(context: Context, target: Target, fields: dict[str, Any], *, merge_nested: bool) -> None:
    state, user, now = context.state, target.user, context.now()
    if user is None:
        delay = context.settings.visibility_delay_seconds
        user = state.add_user(int(now), now + delay if delay else 0)
        if target.email is not None and target.email.endswith("@placeholder.email"):
            state.placeholders += 1
    stored = user.fields
    if fields and context.settings.store == "full":
        before = {} if stored is EMPTY else orjson.loads(stored)
        stored = packed(merged(before, fields, merge_nested=merge_nested))
    email = user.email if target.email is None else target.email
    user_id = user.user_id if target.user_id is None else target.user_id
    state.change_user(user, email, user_id, stored, int(now))


def profile(user: User) -> dict[str, object]:
    """Return the user as the API shows it: identifiers and dataFields, which repeat them beside managed fields."""
    identifiers: dict[str, object] = {}
    if user.email is not None:
        identifiers["email"] = user.email
    if user.user_id is not None:
        identifiers["userId"] = user.user_id
    managed: dict[str, object] = {
        "signupDate": timestamp_text(user.signed_up),
        "signupSource": "API",
        "profileUpdatedAt": timestamp_text(user.updated),
    }
    subscriptions = {"emailListIds": user.lists, "unsubscribedChannelIds": user.unsubscribed}
    managed |= {name: list(numbers) for name, numbers in subscriptions.items() if numbers}
    return {**identifiers, "dataFields": {**orjson.loads(user.fields), **identifiers, **managed}}


def get_by_email(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """GET /api/users/{email} and getByEmail: an unknown e-mail is 200 with an empty object."""
    email = checks.clean_email(_argument(request, "email"), context.settings)
    user = context.visible(context.state.with_email(email))
    return json_answer(200, {} if user is None else {"user": profile(user)})


def get_by_user_id(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """GET /api/users/byUserId: an unknown user id is an error."""
    user_id = checks.check_user_id(_argument(request, "userId"))
    user = context.visible(context.state.with_user_id(user_id))
    if user is None:
        status = context.settings.unknown_user_id_status
        raise refused(status, "error.users.noUserWithIdExists", "No user with this userId exists")
    return json_answer(200, {"user": profile(user)})


def _argument(request: Request, name: str) -> str:
    if request.argument:
        return request.argument
    value = request.query(name)
    if value is None:
        raise bad_params(f"Query parameter {name} must be set")
    return value


def delete_by_email(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """DELETE /api/users/{email}: an unknown e-mail is a success, too."""
    if context.settings.project_type == "userid":
        raise bad_params("A userID-based project deletes users by userId")
    email = checks.clean_email(request.argument, context.settings)
    for user in context.state.with_email(email):
        context.state.remove(user)
    return success(f"User with email {email} was successfully deleted.")


def delete_by_user_id(context: Context, request: Request, _identity: Identity | None) -> Answer:
    """DELETE /api/users/byUserId/{userId}: deletes every user with this user id."""
    user_id = checks.check_user_id(request.argument)
    users = context.state.with_user_id(user_id)
    if not users:
        raise bad_params(f"User does not exist. Email:  UserId: {user_id}")
    for user in users:
        context.state.remove(user)
    return success(f"All users associated with {user_id} were successfully deleted")


def get_fields(context: Context, _request: Request, _identity: Identity | None) -> Answer:
    """GET /api/users/getFields: the type of every profile field, nested ones with dotted names."""
    types = {"email": "string", "userId": "string", **context.state.user_schema().types}
    return json_answer(200, {"fields": types})
