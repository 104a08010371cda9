"""The one error of the local stack."""

from __future__ import annotations


class DevstackError(Exception):
    """Something the person at the keyboard can put right; the message says what is wrong and what to do."""
