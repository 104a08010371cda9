"""Reading Customer.io's answers: in strict mode a 2xx means taken, unless its body says otherwise.

No error body is documented for sure, so every form its APIs are known to give is read: `{"meta": {"errors": [...]}}`,
`{"meta": {"error": ...}}`, `{"errors": [{"reason": ...}]}`, `{"code": ..., "message": ...}`, text, nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from reverse_etl.delivery.answers import Answer, envelope_of, error_of, opaque_code, retry_after
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.errors import (
    AnswerUnreadable,
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    DestinationError,
    Throttled,
    WrongDestination,
)

PASSING_STATUS = 408
"""The one status below 500, beside 429, that passes. Source: the retry table of Customer.io's Node SDK."""


def read_answer(answer: Answer, *, clock: Callable[[], float] = time.time) -> Receipt:
    """Return the receipt of a request that was taken; raise the DestinationError that fits in every other case.

    An empty 2xx and any JSON object without a complaint are a success; a page of HTML or a body cut short is what a
    proxy sends, and no confirmation.
    """
    if not answer.is_success:
        raise refusal(answer, clock)
    if answer.body.strip():
        envelope = envelope_of(answer)
        if envelope is None:
            raise error_of(
                AnswerUnreadable, "the answer does not say whether the call was applied", answer, "unreadable"
            )
        if envelope.get("success", True) is not True or _complaints(envelope):
            message = "the answer is 2xx but says that the call failed"
            raise error_of(CallRejected, message, answer, _code(envelope) or "not_successful")
    return Receipt(answer.status, answer.request_id)


def refusal(answer: Answer, clock: Callable[[], float]) -> DestinationError:
    """Return the error that fits an answer whose status is not 2xx."""
    code = _code(envelope_of(answer)) or f"http_{answer.status}"
    match answer.status:
        case 401 | 403:
            return error_of(
                AuthenticationRefused,
                "the API key was refused; check key and region",
                answer,
                code,
            )
        case 404 | 405:
            return error_of(WrongDestination, "the host does not know this path; check host and region", answer, code)
        case 429:
            return error_of(Throttled, "the rate limit is used up", answer, code, retry_after(answer, clock))
        case status if status == PASSING_STATUS or status >= 500:
            hint = retry_after(answer, clock)
            return error_of(CallFailed, "the platform had a problem of its own", answer, code, hint)
        case status if status < 400:
            return error_of(WrongDestination, "the host answers with a redirect; check host and region", answer, code)
        case _:
            return error_of(CallRejected, "the platform refused the call", answer, code)


def _complaints(envelope: Mapping[str, object]) -> list[object]:
    meta = envelope.get("meta")
    inner = meta if isinstance(meta, Mapping) else {}
    return [found for found in (envelope.get("errors"), inner.get("errors"), inner.get("error")) if found]


def _code(envelope: Mapping[str, object] | None) -> str | None:
    """Return the reason code in an answer. Texts are left out: they may quote an identifier, or be nothing else."""
    if envelope is None:
        return None
    candidates = [envelope.get("code")]
    for found in _complaints(envelope):
        first = found[0] if isinstance(found, list) else found
        candidates.append(first.get("reason") if isinstance(first, Mapping) else None)
    return next((code for candidate in candidates if (code := opaque_code(candidate))), None)
