"""The answers of the Pipelines API, with each shape of error body that clients have to expect."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from reverse_etl.sandbox.customerio.settings import ErrorShape
from reverse_etl.sandbox.exchange import TEXT_TYPE, Answer, json_answer

SUCCESS: Final = json_answer(200, {"success": True})
_CODES: Final = {status.value: status.name.lower() for status in HTTPStatus}
EMPTY: Final = json_answer(200, {})


def error(status: int, texts: Sequence[str], shape: ErrorShape) -> Answer:
    """Build an error answer in one of the shapes.

    `meta_errors` is the one of the vendor's OpenAPI; `meta_error` stands on a page about the Track API, `errors` is
    that of the Track API v2, `code` the one the official Python SDK looks for, `text` is not JSON.
    """
    joined = "; ".join(texts)
    match shape:
        case "meta_errors":
            return json_answer(status, {"meta": {"errors": list(texts)}})
        case "meta_error":
            return json_answer(status, {"meta": {"error": joined}})
        case "errors":
            return json_answer(status, {"errors": [_itemized(text) for text in texts]})
        case "code":
            code = _CODES.get(status, "error")
            return json_answer(status, {"code": code, "message": joined})
        case "text":
            return Answer(status, joined.encode(), TEXT_TYPE)


def _itemized(text: str) -> dict[str, str]:
    item, colon, rest = text.partition(": ")
    if colon:
        return {"reason": "invalid", "field": item, "message": rest}
    return {"reason": "invalid", "field": text.partition(" ")[0], "message": text}
