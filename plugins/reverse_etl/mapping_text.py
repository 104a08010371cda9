"""A mapping as text for the ledger, so that a later dry run can tell which rows only the mapping changed."""

from __future__ import annotations

import importlib
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import orjson

from reverse_etl.errors import ConfigurationError

CLASS = "class"
PACKAGE = "reverse_etl."
"""Only classes of this package are built again: the text comes from a database."""


def to_text(mapping: object) -> str:
    """Return a destination's configuration, a tree of frozen dataclasses, as JSON."""
    return orjson.dumps(_plain(mapping), option=orjson.OPT_SORT_KEYS).decode()


def from_text(text: str) -> Any | None:  # noqa: ANN401 - whichever destination it was
    """Return the configuration again; None where this version of the package cannot build it any more."""
    try:
        return _built(orjson.loads(text))
    except (orjson.JSONDecodeError, ConfigurationError, ImportError, AttributeError, TypeError, ValueError, KeyError):
        return None


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        return {
            CLASS: f"{kind.__module__}:{kind.__qualname__}",
            **{field.name: _plain(getattr(value, field.name)) for field in fields(value)},
        }
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _built(value: Any) -> Any:  # noqa: ANN401
    match value:
        case dict():
            module, _, name = value[CLASS].partition(":")
            if not module.startswith(PACKAGE):
                raise ConfigurationError(f"{module} is not of this package")
            kind = getattr(importlib.import_module(module), name)
            if not (isinstance(kind, type) and is_dataclass(kind)):
                raise ConfigurationError(f"{name} is no configuration")
            return kind(**{key: _built(item) for key, item in value.items() if key != CLASS})
        case list():
            return tuple(map(_built, value))
        case _:
            return value
