"""Checks of what every connection has: a key, a host, numbers within a range."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from reverse_etl.errors import ConfigurationError


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


def check_count(name: str, value: int, lowest: int, highest: int, unit: str) -> None:
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
