"""Whether an e-mail is well-formed, asked the same way by everything that is given one."""

from __future__ import annotations

import re
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

from reverse_etl.errors import InvalidRow

PLAIN_EMAIL = re.compile(r"([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@([A-Za-z0-9.-]+)")
LONGEST_PLAIN_EMAIL = 100
"""Characters; longer ones are left to the library, which knows the limits of each part."""

LONGEST_LOCAL_PART = 64


def check_email(value: object) -> str:
    """Return a well-formed e-mail as it is, in the case it has; raise InvalidRow for any other value."""
    if not isinstance(value, str):
        raise InvalidRow("email_malformed", f"the e-mail is a {type(value).__name__}, expected text")
    plain = PLAIN_EMAIL.fullmatch(value)
    if plain is not None and len(value) <= LONGEST_PLAIN_EMAIL and len(plain[1]) <= LONGEST_LOCAL_PART:
        good = _is_good_domain(plain[2])
    else:
        good = _is_email(value)
    if not good:
        raise InvalidRow("email_malformed", "the e-mail is not well-formed")
    return value


def _is_email(text: str) -> bool:
    try:
        validate_email(text, check_deliverability=False, strict=True)
    except EmailNotValidError:
        return False
    return True


@lru_cache(maxsize=10_000)
def _is_good_domain(domain: str) -> bool:
    """Whether the library takes the domain; people share few, and asking costs more than all else about a row."""
    return _is_email(f"a@{domain}")
