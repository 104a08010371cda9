"""The answers of the Iterable API: the envelope `{msg, code, params}` and its error codes."""

from __future__ import annotations

from typing import Final

from reverse_etl.sandbox.exchange import Answer, RefusedError, json_answer
from reverse_etl.sandbox.limits import Exceeded

_CODES: Final = {401: "BadApiKey", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 429: "RateLimitExceeded"}

Headers = tuple[tuple[bytes, bytes], ...]


class ApiRefusedError(RefusedError):
    """A refusal with its code, and the identifier at fault when it is one: at most one of `email` and `user_id`."""

    def __init__(self, answer: Answer, code: str, email: str | None, user_id: str | None) -> None:
        super().__init__(answer)
        self.code = code
        self.email = email
        self.user_id = user_id


USER_UPDATED: Final = json_answer(200, {"msg": "User successfully created/updated.", "code": "Success", "params": None})


def envelope(
    status: int, code: str, msg: str, params: dict[str, object] | None = None, headers: Headers = ()
) -> Answer:
    """Build the standard answer of a write or an error."""
    return json_answer(status, {"msg": msg, "code": code, "params": params}, headers)


def injected(status: int) -> Answer:
    """Build the answer of a fault that brings no body of its own."""
    return envelope(status, _CODES.get(status, "GenericError"), "Injected by the sandbox")


def success(msg: str = "", params: dict[str, object] | None = None) -> Answer:
    """Build the answer of a write that worked."""
    return envelope(200, "Success", msg, params)


def refused(
    status: int,
    code: str,
    msg: str,
    params: dict[str, object] | None = None,
    *,
    email: str | None = None,
    user_id: str | None = None,
) -> ApiRefusedError:
    """Build the exception that ends the handling with this error; an identifier named here is the one at fault."""
    return ApiRefusedError(envelope(status, code, msg, params), code, email, user_id)


def bad_params(msg: str) -> ApiRefusedError:
    """Refuse: a parameter is missing or not acceptable."""
    return refused(400, "BadParams", msg)


def bad_json_body(path: str, problems: dict[str, str]) -> ApiRefusedError:
    """Refuse: the body is not JSON, has a wrong JSON type, or lacks a required key (form seen in 2024)."""
    return refused(400, "BadJsonBody", f"[{path}] Invalid JSON body", dict(problems))


def invalid_email(email: str, cleaned: str) -> ApiRefusedError:
    """Refuse: the e-mail address is malformed; the message has it as given."""
    return refused(400, "InvalidEmailAddressError", f"Invalid email: {email}", email=cleaned)


def invalid_user_id(user_id: str) -> ApiRefusedError:
    """Refuse: the user id is not 1 to 52 printable ASCII characters, or ends with a space."""
    return refused(400, "InvalidUserIdError", f"Invalid userId: {user_id}", user_id=user_id)


def conflict(msg: str, *, email: str | None = None, user_id: str | None = None) -> ApiRefusedError:
    """Refuse: the e-mail and the user id belong to different users; the existing identifier is in the way."""
    return refused(409, "ExternalKeyConflict", msg, email=email, user_id=user_id)


def rate_limited(path: str, exceeded: Exceeded, project_id: int, *, with_params: bool, retry_after: bool) -> Answer:
    """Build the 429; only two endpoints are documented to carry the rateLimit params."""
    params: dict[str, object] = {}
    if with_params:
        params = {
            "rateLimitLimit": int(exceeded.limit.requests),
            "rateLimitRemaining": 0,
            "rateLimitReset": exceeded.whole_seconds,
        }
    msg = f"Exceeded rate limit of {exceeded.limit.text} for endpoint:{path}, project: {project_id} "
    headers = ((b"retry-after", str(exceeded.whole_seconds).encode()),) if retry_after else ()
    return envelope(429, "RateLimitExceeded", msg, params, headers)
