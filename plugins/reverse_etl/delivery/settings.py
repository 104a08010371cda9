"""Checks of what every connection has: a key, a host, numbers within a range."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from reverse_etl.errors import ConfigurationError


class Range(NamedTuple):
    """What a number may be, both ends included."""

    lowest: float
    highest: float
    unit: str


RANGES: Mapping[str, Range] = {
    "timeout": Range(0.1, 600, "seconds"),
    "requests_in_flight": Range(1, 1000, "requests"),
    "rate_share": Range(0.001, 1, "of the published limits"),
    "tries": Range(1, 10, "tries"),
}

NUMBERS: Mapping[type, str] = {int: "an integer", float: "a number"}


class Numbers(Protocol):
    """The settings every connection has."""

    @property
    def timeout(self) -> float:
        """Seconds to wait for an answer."""

    @property
    def requests_in_flight(self) -> int:
        """Requests under way at once."""

    @property
    def rate_share(self) -> float:
        """The share of the published limits."""

    @property
    def tries(self) -> int:
        """Requests spent on one call."""


def check_numbers(connection: Numbers) -> None:
    """Refuse settings out of their range."""
    check_range("timeout", connection.timeout, *RANGES["timeout"])
    check_count("requests_in_flight", connection.requests_in_flight, *RANGES["requests_in_flight"])
    check_range("rate_share", connection.rate_share, *RANGES["rate_share"])
    check_count("tries", connection.tries, *RANGES["tries"])


def wrong_extra(name: str, expected: type, limits: Range | None = None) -> ConfigurationError:
    """Return the error for an extra that is not of its type; its value may be a secret in the wrong field."""
    limits = limits or RANGES.get(name)
    what = NUMBERS.get(expected, "a JSON object of numbers")
    return ConfigurationError(
        f"the connection's extra {name} is not {what}"
        + (f", {limits.lowest} to {limits.highest} {limits.unit}" if limits else "")
    )


def checked_key(key: str) -> str:
    """Return the key without the blanks around it, such as the line end of a secret's file."""
    key = _text("the API key", key).strip()
    if not key:
        raise ConfigurationError("the connection has no API key; put it in the password field")
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError("the API key holds characters that cannot stand in a header; copy it again")
    return key


def checked_host(host: str) -> str:
    """Return the host as a URL without a slash at the end, or empty text; plain http is for loopback only."""
    host = _text("host", host).strip().rstrip("/")
    if not host:
        return ""
    if "://" not in host:
        host = f"https://{host}"
    try:
        parts = urlsplit(host)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits or parts.path or parts.query or "@" in parts.netloc:
        raise ConfigurationError("host is not of the form https://name or https://name:port")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"host {host} would send the key unencrypted; plain http is for loopback addresses, use https"
        )
    return host


def is_loopback(hostname: str | None) -> bool:
    """Whether a host name or address is this machine."""
    if hostname is None:
        return False
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def check_range(name: str, value: float, lowest: float, highest: float, unit: str) -> None:
    """Refuse a setting that is no number or out of its range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name} is a {type(value).__name__}, expected {lowest} to {highest} {unit}")
    if not lowest <= value <= highest:
        raise ConfigurationError(f"{name} is {value}, expected {lowest} to {highest} {unit}")


def check_count(name: str, value: int, lowest: float, highest: float, unit: str) -> None:
    """Refuse a setting that is no whole number or out of its range."""
    check_range(name, value, lowest, highest, unit)
    if not isinstance(value, int):
        raise ConfigurationError(f"{name} is {value}, expected a whole number of {unit}")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} is a {type(value).__name__}, expected text")
    return value


def check_extras(extra: Mapping[str, object], known: Mapping[str, object]) -> None:
    """Refuse an extra of another name, so that a misspelt one is noticed."""
    unknown = sorted(set(extra) - set(known))
    if unknown:
        raise ConfigurationError(
            f"the connection's extra holds {', '.join(unknown)}, expected only {', '.join(sorted(known))}"
        )


def stored_host(stored: object) -> str:
    """Return the host of an Airflow connection with the port of its own field, which form and URI split off."""
    host = str(getattr(stored, "host", None) or "")
    port = getattr(stored, "port", None)
    scheme = getattr(stored, "schema", None)
    if host and scheme in ("http", "https") and "://" not in host:
        host = f"{scheme}://{host}"
    return f"{host}:{port}" if host and port else host
