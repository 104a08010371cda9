"""The settings of a connection to one Customer.io workspace."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from reverse_etl.customerio.auth import is_public, region_of
from reverse_etl.customerio.limits import HEADROOM, HOSTS, REQUESTS_PER_SECOND, Region
from reverse_etl.delivery.settings import (
    check_extras,
    check_numbers,
    checked_host,
    checked_key,
    is_loopback,
    wrong_extra,
)
from reverse_etl.errors import ConfigurationError
from reverse_etl.redaction import join_key


@dataclass(frozen=True, slots=True)
class CustomerIOConnection:
    """Key, place and pace. Times are in seconds.

    `region` is taken from the key where its prefix names one, else it is `us`. `host` replaces the region's host, for
    the sandbox; plain http is taken for loopback addresses only. `rate_share` is the share of the published limit
    this account may use.
    """

    api_key: str = field(repr=False)
    region: Region | str = ""
    host: str = ""
    timeout: float = 10.0
    requests_in_flight: int = 100
    rate_share: float = 1.0
    tries: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", checked_key(self.api_key))
        object.__setattr__(self, "region", _checked_region(self.region, region_of(self.api_key)))
        object.__setattr__(self, "host", checked_host(self.host))
        check_numbers(self)

    @property
    def base_url(self) -> str:
        """The URL that paths are appended to, without a slash at the end."""
        return self.host or HOSTS[Region(self.region)]

    @property
    def account(self) -> str:
        """What the rate limit belongs to, as a hash of 32 characters of key and host."""
        return hashlib.blake2b(join_key((self.api_key, self.base_url)), digest_size=16).hexdigest()

    @property
    def rate(self) -> float:
        """The requests per second to keep to, over all paths."""
        return REQUESTS_PER_SECOND * self.rate_share * HEADROOM

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        return is_loopback(urlsplit(self.base_url).hostname)

    @property
    def region_is_of_key(self) -> bool:
        """Whether the key names its region."""
        return region_of(self.api_key) is not None

    @property
    def has_public_key(self) -> bool:
        """Whether the key is one for browsers and apps."""
        return is_public(self.api_key)

    @classmethod
    def from_parts(cls, *, password: str | None, host: str | None, extra: Mapping[str, object]) -> CustomerIOConnection:
        """Return the connection that an Airflow connection describes; an unknown extra is refused."""
        check_extras(extra, EXTRAS)
        given = {name: _read_extra(name, value) for name, value in extra.items() if value not in (None, "")}
        return cls(api_key=password or "", host=host or "", **given)  # type: ignore[arg-type] # _read_extra checks


EXTRAS: Mapping[str, type] = {
    "region": str,
    "timeout": float,
    "requests_in_flight": int,
    "rate_share": float,
    "tries": int,
}


def _read_extra(name: str, value: object) -> object:
    """Return the value of an extra in its type; the form of the Airflow UI may save numbers as text."""
    expected = EXTRAS[name]
    try:
        return expected(str(value))
    except ValueError:
        raise wrong_extra(name, expected) from None


def _checked_region(given: Region | str, named_by_key: Region | None) -> Region:
    text = str(given).strip().lower()
    try:
        region = Region(text) if text else named_by_key or Region.US
    except ValueError:
        raise ConfigurationError(f"region is {text[:20]!r}, neither {' nor '.join(Region)}") from None
    if named_by_key not in (None, region):
        raise ConfigurationError(
            f"the API key belongs to the region {named_by_key}, but region is {region}; "
            "correct the region, or leave it empty: the key names it"
        )
    return region
