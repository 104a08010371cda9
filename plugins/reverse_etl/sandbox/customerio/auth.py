"""The keys of the Pipelines API.

A classic key is the user name of HTTP Basic with an empty password. A key that begins with `pk_` or `sk_` and a region
goes as a Bearer token, as the official Python SDK sends it since 1.1.0.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from reverse_etl.sandbox.customerio.settings import CustomerIoSettings
from reverse_etl.sandbox.exchange import Request

_NEW_KEY: Final = re.compile(r"(?:pk|sk)_(us|eu)_")


class Gate:
    """Judges the key of a request."""

    def __init__(self, settings: CustomerIoSettings) -> None:
        self._settings = settings
        self._keys = frozenset(settings.keys)

    def key_of(self, request: Request) -> str | None:
        """Return the key, or None when it is absent, unknown, of the other region or sent by the wrong scheme."""
        scheme, _, credentials = (request.header(b"authorization") or "").partition(" ")
        match scheme.lower():
            case "basic":
                key = _user_name(credentials)
                allowed = self._settings.new_keys_over_basic
            case "bearer":
                key, allowed = credentials, True
            case _:
                return None
        if key not in self._keys:
            return None
        form = _NEW_KEY.match(key)
        if form is None:
            return key if scheme.lower() == "basic" else None
        return key if allowed and form[1] == self._settings.region else None


def _user_name(credentials: str) -> str:
    """Return the user name of Basic credentials with an empty password; an empty string for anything else."""
    try:
        decoded = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    name, colon, password = decoded.partition(":")
    return name if colon and not password else ""
