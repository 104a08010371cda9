"""One HTTP answer, and what may be read from any platform's: which statuses pass, how long to wait."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import ClassVar

import orjson

from reverse_etl.errors import DestinationError

REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
LONGEST_CODE = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, as far as it is read."""

    request_id_header: ClassVar[str] = "X-Request-Id"
    """The header with the platform's id of the request, which its support can look up."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx; the body has the last word."""
        return 200 <= self.status < 300

    @property
    def request_id(self) -> str | None:
        """The platform's id of the request, if it is one."""
        found = self.headers.get(self.request_id_header, "")
        return found if REQUEST_ID.fullmatch(found) else None


def error_of(
    kind: type[DestinationError], message: str, answer: Answer, code: str, retry_after: float | None = None
) -> DestinationError:
    """Return an error with the facts of an answer."""
    return kind(message, status=answer.status, code=code, request_id=answer.request_id, retry_after=retry_after)


def envelope_of(answer: Answer) -> Mapping[str, object] | None:
    """Return the body if it is a JSON object."""
    try:
        parsed = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def opaque_code(code: object) -> str | None:
    """Codes are opaque words; anything that is not one could carry an identifier and is dropped."""
    if not isinstance(code, str) or not 0 < len(code) <= LONGEST_CODE:
        return None
    return code if code.replace(".", "").replace("_", "").isalnum() else None


def retry_after(answer: Answer, clock: Callable[[], float] = time.time) -> float | None:
    """Return the seconds to wait by the header Retry-After, which holds seconds or a date."""
    header = answer.headers.get("Retry-After")
    if header is None:
        return None
    seconds = seconds_of(header)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - clock())
    except ValueError:
        return None


def seconds_of(value: object) -> float | None:
    """Return a number of seconds, also one written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
