"""One request and one answer, as plain values: what the server hands to an API and gets back.

Starlette's request objects cost more than the work of a hot endpoint, so the hot paths do without them.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import orjson

JSON_TYPE: Final = b"application/json"
HTML_TYPE: Final = b"text/html; charset=utf-8"
TEXT_TYPE: Final = b"text/plain; charset=utf-8"

BROKEN: Final = object()
"""What `Request.payload` is when the body is not JSON."""


@dataclass(slots=True, frozen=True)
class Answer:
    """An HTTP answer: status, body bytes, content type, and further headers."""

    status: int
    body: bytes
    content_type: bytes = JSON_TYPE
    headers: tuple[tuple[bytes, bytes], ...] = ()


class RefusedError(Exception):
    """Ends the handling of a request with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class RowRefusal(Protocol):
    """Chooses rows of a bulk request that are refused, whatever is in them."""

    @property
    def list(self) -> str | None:
        """The list of the answer that names them, or `unexplained`."""

    def refuses(self, row: dict[str, Any]) -> bool:
        """Whether this row is refused."""


class Request:
    """One API request; `argument` is the variable part of the path, percent-decoded, or an empty string.

    `row_refusal` is the fault, if any, that refuses rows of a bulk request.
    """

    __slots__ = ("_payload", "argument", "body", "client", "headers", "method", "path", "query_string", "row_refusal")

    def __init__(self, scope: MutableMapping[str, Any], argument: str, body: bytes) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query_string: bytes = scope["query_string"]
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.client: str = scope["client"][0] if scope["client"] else "unknown"
        self.argument = argument
        self.body = body
        self.row_refusal: RowRefusal | None = None
        self._payload: Any = None

    @property
    def payload(self) -> Any:  # noqa: ANN401 - JSON of any shape
        """The body as JSON, parsed once; `BROKEN` when it is not JSON."""
        if self._payload is None:
            try:
                self._payload = orjson.loads(self.body)
            except orjson.JSONDecodeError:
                self._payload = BROKEN
        return self._payload

    def header(self, *names: bytes) -> str | None:
        """Return the first header with one of these lower-case names, or None."""
        for name, value in self.headers:
            if name in names:
                return value.decode("latin-1")
        return None

    def query(self, name: str) -> str | None:
        """Return the first value of a query parameter, or None."""
        values = parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True).get(name)
        return values[0] if values else None


def person(kind: str, identifier: str) -> str:
    """Name a person by one identifier, as `email:...` in lower case or `userId:...`."""
    return f"{kind}:{identifier.lower() if kind == 'email' else identifier}"


def people_in(body: object) -> Iterator[str]:
    """Go through the persons that the keys email and userId of a body name; none when it is not an object."""
    if not isinstance(body, dict):
        return
    for kind in ("email", "userId"):
        identifier = body.get(kind)
        if isinstance(identifier, str):
            yield person(kind, identifier)


def json_answer(status: int, body: object, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Build a JSON answer."""
    return Answer(status, orjson.dumps(body), JSON_TYPE, headers)


def html_answer(status: int, title: str) -> Answer:
    """Build the kind of HTML page an ingress or a web framework answers with."""
    page = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{status} {title}</h1></body></html>\n"
    return Answer(status, page.encode(), HTML_TYPE)
