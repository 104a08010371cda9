"""Merging traits into a profile, with the reserved ones: unsubscribed and cio_subscription_preferences."""

from __future__ import annotations

from typing import Any, Final

Traits = dict[str, Any]

PREFERENCES: Final = "cio_subscription_preferences"
_DOTTED: Final = f"{PREFERENCES}."
_TRUE_TEXTS: Final = frozenset({"true", "1"})


def merged(before: Traits, given: Traits) -> Traits:
    """Return the traits after an update: given ones replace earlier ones, null takes one away.

    Subscription preferences are merged entry by entry, whether given as an object or with dots in the key.
    """
    after = dict(before)
    for name, value in given.items():
        if value is None:
            after.pop(name, None)
        elif name == PREFERENCES and isinstance(value, dict):
            after[name] = _deep(after.get(name), value)
        elif name.startswith(_DOTTED):
            nested: Any = value
            for part in reversed(name.removeprefix(_DOTTED).split(".")):
                nested = {part: nested}
            after[PREFERENCES] = _deep(after.get(PREFERENCES), nested)
        else:
            after[name] = value
    return after


def _deep(before: object, given: Traits) -> Traits:
    after = dict(before) if isinstance(before, dict) else {}
    for name, value in given.items():
        after[name] = _deep(after.get(name), value) if isinstance(value, dict) else value
    return after


def is_unsubscribed(traits: Traits) -> bool:
    """Whether the trait unsubscribed says so: true, 1, or one of these as text in any case."""
    value = traits.get("unsubscribed")
    if isinstance(value, str):
        return value.lower() in _TRUE_TEXTS
    return value is True or (type(value) is int and value == 1)
