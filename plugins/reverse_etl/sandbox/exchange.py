"""One request and one answer, as plain values: what the server hands to an API and gets back.

Starlette's request objects cost more than the work of a hot endpoint, so the hot paths do without them.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar
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

    `too_large` says that the body was more than the server reads, and is empty here. `row_refusal` is the fault, if
    any, that refuses rows of a bulk request.
    """

    __slots__ = (
        "_payload",
        "argument",
        "body",
        "client",
        "headers",
        "method",
        "path",
        "query_string",
        "row_refusal",
        "too_large",
    )

    def __init__(self, scope: MutableMapping[str, Any], argument: str, body: bytes | None) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query_string: bytes = scope["query_string"]
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.client: str = scope["client"][0] if scope["client"] else "unknown"
        self.argument = argument
        self.body = body or b""
        self.too_large = body is None
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


class Named(Protocol):
    """An endpoint, by the name under which it is counted."""

    @property
    def name(self) -> str:
        """Method and path template."""


EndpointT = TypeVar("EndpointT", bound=Named)


class Api(Protocol[EndpointT]):
    """One emulated API: the server asks it for endpoints, people and answers."""

    prefix: str
    request_id_header: bytes | None
    """The header that carries an id of each answer, None for an API that has none."""

    def resolve(self, method: str, raw_path: str) -> tuple[EndpointT, str] | None:
        """Return the endpoint and the variable part of its path, or None when there is none."""

    def unpacked(self, headers: list[tuple[bytes, bytes]], body: bytes, limit: int) -> bytes | None:
        """Return the body without its content encoding, None when that has more than `limit` bytes."""

    def rows(self, endpoint: EndpointT | None, request: Request) -> list[Any]:
        """Return the rows of a bulk request as they are in its payload; empty when it is none."""

    def people(self, request: Request, rows: list[Any]) -> tuple[str, ...]:
        """Return whom the request is about, each once."""

    def answer(self, endpoint: EndpointT, request: Request) -> Answer:
        """Do what the request asks for and answer it."""

    def unknown(self, method: str, raw_path: str) -> Answer:
        """Build the answer to what `resolve` does not know."""

    def injected(self, status: int) -> Answer:
        """Build the answer of a fault that brings no body of its own."""

    def broken(self) -> Answer:
        """Build the answer to a request the sandbox itself failed on."""


def person(kind: str, identifier: str) -> str:
    """Name a person by one identifier, as `email:...` in lower case or `userId:...`."""
    return f"{kind}:{identifier.lower() if kind == 'email' else identifier}"


def people_in(bodies: Iterable[object]) -> dict[str, None]:
    """Return the persons that the keys email and userId of bodies name, each once; none where one is no object."""
    people: dict[str, None] = {}
    for body in bodies:
        if isinstance(body, dict):
            for kind in ("email", "userId"):
                identifier = body.get(kind)
                if isinstance(identifier, str):
                    people[person(kind, identifier)] = None
    return people


def json_answer(status: int, body: object, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Build a JSON answer."""
    return Answer(status, orjson.dumps(body), JSON_TYPE, headers)


def html_answer(status: int, title: str) -> Answer:
    """Build the kind of HTML page an ingress or a web framework answers with."""
    page = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{status} {title}</h1></body></html>\n"
    return Answer(status, page.encode(), HTML_TYPE)
