"""Rows of people whom the account a sync sends to was asked, from here, to forget or suppress.

Customer.io answers 200 to data of a suppressed person and drops it: only the ledger knows then that nothing arrived.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reverse_etl.operators.base import hash_key
from reverse_etl.sync import REMOVAL

if TYPE_CHECKING:
    from reverse_etl.delivery.destination import RenderedRow
    from reverse_etl.delivery.reading import IsBlocked
    from reverse_etl.operators.ledger import Recording
    from reverse_etl.redaction import KeyHasher
    from reverse_etl.sync import Sync

IDENTIFIERS = ("email", "userId")
"""What the platforms call the identifiers that privacy actions name people by."""


def blocked_rows(sync: Sync, hook: Any, record: Recording) -> IsBlocked | None:
    """Return what tells whether a row must be held back, None where nobody was forgotten; raises LedgerUnavailable.

    Removals go out: they take data away.
    """
    if sync.name.endswith(REMOVAL) or not hasattr(hook, "privacy"):
        return None
    people = record.blocked(hook.connection.account)
    if not people:
        return None
    hasher = hash_key()

    def is_blocked(rendered: RenderedRow) -> bool:
        return any(hashed in people for hashed in _hashes(rendered.calls[0].identity, hasher))

    return is_blocked


def _hashes(identity: Mapping[str, str], hasher: KeyHasher) -> Iterator[str]:
    """Yield what a person may be recorded under: Customer.io keeps e-mails and user ids under one name."""
    from reverse_etl.staging.people import same_email

    for name in IDENTIFIERS:
        value = identity.get(name, "")
        if "@" in value:
            yield hasher((same_email(value),))
        if value and name != "email":
            yield hasher((value,))
