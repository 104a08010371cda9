"""The size of each item of a batch, in bytes of JSON as the client wrote it."""

from __future__ import annotations

from json import JSONDecoder
from typing import Any

import orjson

_DECODER = JSONDecoder()


def largest_possible(items: list[Any], body: bytes) -> int:
    """Return a bound for the size of the largest item: its compact form, and all that the body has beyond those."""
    sizes = [len(orjson.dumps(item)) for item in items]
    return max(sizes, default=0) + max(0, len(body) - sum(sizes))


def item_sizes(body: bytes, key: str) -> list[int]:
    """Return the bytes of each item of the array that a JSON object, known to be well-formed, has under this key."""
    text = body.decode()
    sizes: list[int] = []
    at = _skip(text, text.index("{") + 1)
    while text[at] == '"':
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if name == key and text[at] == "[":
            sizes, at = _sizes_from(text, at)
        else:
            _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return sizes


def _sizes_from(text: str, at: int) -> tuple[list[int], int]:
    """Return the sizes of the items of the array that begins here, and where it is over."""
    sizes: list[int] = []
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        sizes.append(len(text[at:end].encode()))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return sizes, at + 1


def _skip(text: str, at: int) -> int:
    """Return where the next character that is no JSON blank stands."""
    while text[at] in " \t\n\r":
        at += 1
    return at
