"""The settings of a connection to one Iterable project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from reverse_etl.delivery.settings import (
    Range,
    check_extras,
    check_numbers,
    check_range,
    checked_host,
    checked_key,
    is_loopback,
    wrong_extra,
)
from reverse_etl.errors import ConfigurationError
from reverse_etl.iterable.limits import HEADROOM, Endpoint
from reverse_etl.redaction import join_key


class Region(StrEnum):
    """The two data centres; a project and its keys belong to one of them."""

    US = "us"
    EU = "eu"


# Source: support article "API Keys".
HOSTS: Mapping[Region, str] = {
    Region.US: "https://api.iterable.com",
    Region.EU: "https://api.eu.iterable.com",
}

JWT_LIFETIME = Range(60, 31_536_000, "seconds")
"""At most one year, the longest Iterable accepts. Source: support article "JWT-Enabled API Keys"."""


@dataclass(frozen=True, slots=True)
class IterableConnection:
    """Key, place and pace. Times are in seconds.

    `host` replaces the region's host, for the sandbox; plain http is taken for loopback addresses only.
    `jwt_secret` switches JWT on; `rate_share` is the share of the published limits this project may use, and
    `rate_limits` are other limits than the published ones, in requests per second by path.
    """

    api_key: str = field(repr=False)
    region: Region = Region.US
    host: str = ""
    jwt_secret: str = field(default="", repr=False)
    jwt_lifetime: int = 3600
    timeout: float = 10.0
    requests_in_flight: int = 100
    rate_share: float = 1.0
    rate_limits: Mapping[str, float] = field(default_factory=dict)
    tries: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", checked_key(self.api_key))
        object.__setattr__(self, "region", _checked_region(self.region))
        object.__setattr__(self, "host", checked_host(self.host))
        check_range("jwt_lifetime", self.jwt_lifetime, *JWT_LIFETIME)
        check_numbers(self)
        _check_rate_limits(self.rate_limits)

    @property
    def base_url(self) -> str:
        """The URL that paths are appended to, without a slash at the end."""
        return self.host or HOSTS[self.region]

    @property
    def account(self) -> str:
        """What the rate limits belong to, as a hash of 32 characters of key and host."""
        return hashlib.blake2b(join_key((self.api_key, self.base_url)), digest_size=16).hexdigest()

    def rate(self, endpoint: str, published: float) -> float:
        """Return the requests per second to keep to at an endpoint."""
        return self.rate_limits.get(endpoint, published) * self.rate_share * HEADROOM

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        return is_loopback(urlsplit(self.base_url).hostname)

    @classmethod
    def from_parts(cls, *, password: str | None, host: str | None, extra: Mapping[str, object]) -> IterableConnection:
        """Return the connection that an Airflow connection describes; an unknown extra is refused."""
        check_extras(extra, EXTRAS)
        given = {name: _read_extra(name, value) for name, value in extra.items() if value not in (None, "")}
        return cls(api_key=password or "", host=host or "", **given)  # type: ignore[arg-type] # _read_extra checks


EXTRAS: Mapping[str, type] = {
    "region": str,
    "jwt_secret": str,
    "jwt_lifetime": int,
    "timeout": float,
    "requests_in_flight": int,
    "rate_share": float,
    "rate_limits": dict,
    "tries": int,
}


def _read_extra(name: str, value: object) -> object:
    """Return the value of an extra in its type; the form of the Airflow UI may save numbers as text."""
    expected = EXTRAS[name]
    try:
        return _read_rate_limits(value) if expected is dict else expected(str(value))
    except (TypeError, ValueError):
        raise wrong_extra(name, expected, JWT_LIFETIME if name == "jwt_lifetime" else None) from None


def _read_rate_limits(value: object) -> dict[str, float]:
    """Return the limits by path; the form saves them as a JSON text. Raises ValueError or TypeError."""
    read = json.loads(value) if isinstance(value, str) else value
    if not isinstance(read, Mapping):
        raise TypeError
    return {str(path): float(limit) for path, limit in read.items()}


def _checked_region(region: Region | str) -> Region:
    try:
        return Region(str(region).strip().lower())
    except ValueError:
        raise ConfigurationError(f"region is {str(region)[:20]!r}, neither {' nor '.join(Region)}") from None


def _check_rate_limits(limits: Mapping[str, float]) -> None:
    unknown = sorted(set(limits) - set(Endpoint))
    if unknown:
        raise ConfigurationError(f"rate_limits names {', '.join(unknown)}, expected only {', '.join(Endpoint)}")
    for endpoint, limit in limits.items():
        check_range(f"rate_limits of {endpoint}", limit, 0.01, 100_000, "requests per second")
