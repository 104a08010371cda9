"""What may be logged or stored in place of an identifier.

Rows are named by a keyed hash: the same row has the same hash in every run, and nobody without the hash key can
find out whether a given person is behind it by hashing a list of e-mails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from copy import copy

from reverse_etl.errors import ConfigurationError

SHORTEST_SECRET = 16


class KeyHasher:
    """Turns the key of a row into 32 hexadecimal characters (BLAKE2b with a secret key, 128 bits)."""

    def __init__(self, secret: str) -> None:
        if len(secret) < SHORTEST_SECRET:
            raise ConfigurationError(
                f"the hash key has {len(secret)} characters, at least {SHORTEST_SECRET} are expected; "
                "set AIRFLOW__REVERSE_ETL__HASH_KEY to a random text and keep it"
            )
        # Copies of a hash that has taken in the key already cost half of new ones.
        self._keyed = hashlib.blake2b(key=hashlib.blake2b(secret.encode(), digest_size=32).digest(), digest_size=16)
        self._of_call = self._keyed

    def __call__(self, values: Iterable[object]) -> str:
        """Return the hash of the key values, in their order."""
        hashing = self._keyed.copy()
        hashing.update(join_key(values))
        return hashing.hexdigest()

    def for_account(self, account: str) -> KeyHasher:
        """Return one whose fingerprints are of calls to an account: what one account holds, another need not hold.

        `account` is a hash, all of which have the same length.
        """
        of_call = self._keyed.copy()
        of_call.update(account.encode())
        other = copy(self)
        other._of_call = of_call  # noqa: SLF001 - another of its own class
        return other

    def fingerprint(self, body: bytes) -> bytes:
        """Return 16 bytes that stand for the body of a rendered call: another body has others."""
        hashing = self._of_call.copy()
        hashing.update(body)
        return hashing.digest()


def join_key(values: Iterable[object]) -> bytes:
    """Return key values as bytes that no other values share: each with its length before it."""
    joined = b""
    for value in values:
        text = b"" if value is None else str(value).encode("utf-8", "surrogatepass")
        joined += b"%d:" % len(text) + text
    return joined


def key_of(row: Mapping[str, object], columns: Iterable[str]) -> tuple[object, ...]:
    """Return the key values of a row."""
    return tuple([row[column] for column in columns])


NAMES_OF_THE_MAPPING = 2
"""So many levels of a payload have names the mapping gives; what lies deeper comes from a column, names and all."""


def without_values(payload: object, *, keep: Collection[object] = (), levels: int = NAMES_OF_THE_MAPPING) -> object:
    """Return a payload with the kind of each value in its place, such as `<text>`; values in `keep` stay.

    No length, number or size is told.
    """
    match payload:
        case dict() if levels:
            return {name: without_values(value, keep=keep, levels=levels - 1) for name, value in payload.items()}
        case dict():
            return "<object>"
        case list():
            return "<list>"
        case None:
            return "<null>"
        case bool():
            return "<boolean>"
        case int() | float():
            return "<number>"
        case _:
            return payload if payload in keep else "<text>"
