"""Moments as the tables hold them: microseconds since 1970-01-01 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MICROSECONDS = 1_000_000

SECONDS_PER_DAY = 86_400

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(microseconds: int) -> datetime:
    """Return microseconds since 1970 as an aware moment."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds_of(when: datetime) -> int:
    """Return an aware moment as microseconds since 1970."""
    return (when - _EPOCH) // timedelta(microseconds=1)
