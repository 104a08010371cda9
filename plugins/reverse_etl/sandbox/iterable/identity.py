"""Which user an update is about, and who the user is afterwards.

Rules from Iterable's support articles "Project Types" (9216719179796) and "Creating and Identifying Users with APIs"
(29156459027348): an email-based project has unique e-mails, a userID-based one unique user ids, a hybrid one both.
"""

from __future__ import annotations

from dataclasses import dataclass

from reverse_etl.sandbox.iterable.answers import bad_params, conflict, refused
from reverse_etl.sandbox.iterable.state import State, User
from reverse_etl.sandbox.settings import Settings

NO_IDENTIFIER = "Either email or userId must be set"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The identifiers of an update: those that identify, and those that dataFields change them to."""

    email: str | None
    user_id: str | None
    new_email: str | None
    new_user_id: str | None
    prefer_user_id: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """The user to update, None to create one, and its identifiers after the update."""

    user: User | None
    email: str | None
    user_id: str | None


def find_target(state: State, settings: Settings, wanted: Wanted) -> Target:
    """Find the user of an update without changing anything; raises RefusedError as the project's type demands."""
    match settings.project_type:
        case "email":
            return _in_email_project(state, wanted)
        case "userid":
            return _in_user_id_project(state, wanted)
        case "hybrid":
            return _in_hybrid_project(state, wanted)


def _first(users: tuple[User, ...]) -> User | None:
    return users[0] if users else None


def _in_email_project(state: State, wanted: Wanted) -> Target:
    user_id = wanted.new_user_id or wanted.user_id
    if wanted.email is not None:
        user = _first(state.with_email(wanted.email))
        return Target(user, wanted.email, user_id or (user.user_id if user else None))
    user = _first(state.with_user_id(wanted.user_id or ""))
    if user is not None:
        return Target(user, user.email, user_id)
    if not wanted.prefer_user_id:
        msg = "The userId is unknown in this email-based project; set preferUserId to create the user"
        raise refused(400, "UnknownUserIdError", msg, user_id=wanted.user_id)
    return Target(None, f"sandbox+{state.placeholders + 1}@placeholder.email", user_id)


def _in_user_id_project(state: State, wanted: Wanted) -> Target:
    if wanted.user_id is None:
        raise bad_params("userId must be set in a userID-based project")
    user = _first(state.with_user_id(wanted.user_id))
    email = wanted.new_email or wanted.email or (user.email if user else None)
    user_id = wanted.new_user_id or wanted.user_id
    _refuse_other(state.with_user_id(user_id), user, user_id=user_id)
    return Target(user, email, user_id)


def _in_hybrid_project(state: State, wanted: Wanted) -> Target:
    by_email = _first(state.with_email(wanted.email)) if wanted.email is not None else None
    by_user_id = _first(state.with_user_id(wanted.user_id)) if wanted.user_id is not None else None
    user = by_email or by_user_id
    if by_email is not None and by_user_id is not None and by_email is not by_user_id:
        raise conflict("The email and the userId belong to different users", user_id=wanted.user_id)
    if user is not None and _differs(user.email, wanted.email):
        raise conflict("The userId belongs to a user with another email", email=user.email)
    if user is not None and _differs(user.user_id, wanted.user_id):
        raise conflict("The email belongs to a user with another userId", user_id=user.user_id)
    email = wanted.new_email or wanted.email or (user.email if user else None)
    user_id = wanted.new_user_id or wanted.user_id or (user.user_id if user else None)
    if wanted.new_email is not None:
        _refuse_other(state.with_email(wanted.new_email), user, email=wanted.new_email)
    if wanted.new_user_id is not None:
        _refuse_other(state.with_user_id(wanted.new_user_id), user, user_id=wanted.new_user_id)
    return Target(user, email, user_id)


def _differs(present: str | None, wanted: str | None) -> bool:
    return present is not None and wanted is not None and present != wanted


def _refuse_other(
    holders: tuple[User, ...], user: User | None, *, email: str | None = None, user_id: str | None = None
) -> None:
    if any(holder is not user for holder in holders):
        identifier = "userId" if email is None else "email"
        raise conflict(f"The new {identifier} belongs to another user", email=email, user_id=user_id)
