"""Reading Iterable's answers: a call is delivered only when the status is 2xx and the body says so.

Statuses and codes: support article "API Response Codes" and the OpenAPI document. Where they disagree (a 400 whose code
is `Success`, a 200 that refuses the event), recorded answers of the live API decide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reverse_etl.delivery.answers import Answer as HttpAnswer
from reverse_etl.delivery.answers import envelope_of, error_of, opaque_code, retry_after, seconds_of
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.errors import (
    AnswerUnreadable,
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    DestinationError,
    Throttled,
    UserNotFound,
    UserSuppressed,
    WrongDestination,
)

RETRYABLE_STATUSES = frozenset({408, 500, 502, 503, 504})

# The event's name is switched off in the project; only this part of the message of a 200 tells.
DISALLOWED = "disallowed from tracking"
# A list the project does not have; the message of a 400 whose code is Success.
UNKNOWN_LIST = "error.lists.invalidListId"

# The only sign that the person to be forgotten is not there: the code of the 400 is a general one.
NO_SUCH_USER = "user does not exist"
USER_NOT_FOUND = "user_not_found"

# A user write becomes visible a little later, so an event right after it may find nobody.
NOT_VISIBLE_YET = frozenset({"UnknownEmailError", "UnknownUserIdError"})
FORGOTTEN = "ForgottenUserError"

# Sources disagree whether these come with a 401 or a 400; they are about the key or token either way.
JWT_CODES = frozenset({"InvalidJwtPayload", "BadAuthorizationHeader", "JwtUserIdentifiersMismatched"})
ACCOUNT_CODES = JWT_CODES | {"BadApiKey", "Unauthorized"}


@dataclass(frozen=True, slots=True)
class Answer(HttpAnswer):
    """One HTTP answer of Iterable's."""

    request_id_header = "Iterable-Request-Id"


def read_answer(answer: Answer, *, clock: Callable[[], float] = time.time) -> Receipt:
    """Return the receipt of a call that was delivered; raise the DestinationError that fits in every other case."""
    if answer.is_success:
        return _read_success(answer, envelope_of(answer))
    raise refusal(answer, clock)


def read_fields(answer: Answer, *, clock: Callable[[], float] = time.time) -> dict[str, str]:
    """Return the types by field that the answer of `users/getFields` holds; raise as `read_answer` does."""
    if not answer.is_success:
        raise refusal(answer, clock)
    envelope = envelope_of(answer)
    fields = envelope.get("fields") if envelope else None
    if not isinstance(fields, Mapping):
        raise error_of(AnswerUnreadable, "the answer does not hold the project's fields", answer, "unreadable")
    return {str(name): str(kind) for name, kind in fields.items()}


def _read_success(answer: Answer, envelope: Mapping[str, object] | None) -> Receipt:
    code = None if envelope is None else _code(envelope)
    if envelope is None or code is None:
        raise error_of(AnswerUnreadable, "the answer does not say whether the call was applied", answer, "unreadable")
    if code != "Success":
        raise error_of(CallRejected, "the answer is 2xx but its code is not Success", answer, code)
    if DISALLOWED in str(envelope.get("msg")):
        raise error_of(CallRejected, "the project does not allow this event", answer, "event_disallowed")
    return Receipt(answer.status, answer.request_id)


def refusal(answer: Answer, clock: Callable[[], float]) -> DestinationError:
    """Return the error that fits an answer whose status is not 2xx."""
    envelope = envelope_of(answer)
    code = _code(envelope) or f"http_{answer.status}"
    if code in ACCOUNT_CODES:
        return error_of(AuthenticationRefused, _authentication_advice(envelope), answer, code)
    match answer.status:
        case 401 | 403:
            return error_of(AuthenticationRefused, _authentication_advice(envelope), answer, code)
        case 404:
            return error_of(WrongDestination, "the host does not know this path; check host and region", answer, code)
        case 429:
            hint = _seconds_to_wait(answer, envelope, clock)
            return error_of(Throttled, "the rate limit is used up", answer, code, hint)
        case status if status in RETRYABLE_STATUSES:
            hint = _seconds_to_wait(answer, envelope, clock)
            return error_of(CallFailed, "the platform had a problem of its own", answer, code, hint)
        case status if status < 400:
            return error_of(WrongDestination, "the host answers with a redirect; check host and region", answer, code)
        case _:
            return _row_refusal(answer, envelope, code)


def _row_refusal(answer: Answer, envelope: Mapping[str, object] | None, code: str) -> DestinationError:
    if code == FORGOTTEN:
        return error_of(UserSuppressed, "the person asked to be forgotten", answer, code)
    if code in NOT_VISIBLE_YET:
        return error_of(UserNotFound, "the platform does not see this person (yet)", answer, code)
    if envelope is not None and UNKNOWN_LIST in str(envelope.get("msg")):
        return error_of(WrongDestination, "the project has no such list", answer, "invalid_list")
    if envelope is not None and NO_SUCH_USER in str(envelope.get("msg")).lower():
        return error_of(CallRejected, "the platform does not know this person", answer, USER_NOT_FOUND)
    if code == "Success":
        code = f"http_{answer.status}"
    return error_of(CallRejected, "the platform refused the call", answer, code)


def _authentication_advice(envelope: Mapping[str, object] | None) -> str:
    params = envelope.get("params") if envelope else None
    if isinstance(params, Mapping) and "apiKeyType" in params:
        return "the API key is disabled or lacks the privilege; use an enabled server-side key"
    return "the API key or token was refused; check the key, and that region and key belong together"


def _code(envelope: Mapping[str, object] | None) -> str | None:
    return opaque_code(envelope.get("code")) if envelope else None


def _seconds_to_wait(answer: Answer, envelope: Mapping[str, object] | None, clock: Callable[[], float]) -> float | None:
    """Return the longest wait the platform asks for: the Retry-After header or `params.rateLimitReset`, in seconds."""
    params = envelope.get("params") if envelope else None
    reset = params.get("rateLimitReset") if isinstance(params, Mapping) else None
    hints = [hint for hint in (seconds_of(reset), retry_after(answer, clock)) if hint is not None]
    return max(hints, default=None)
