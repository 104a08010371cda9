"""What is wrong with a connection, told apart: the key, the region, the privilege, the host, the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.errors import (
    AuthenticationRefused,
    CallFailed,
    ConnectionFailed,
    DestinationError,
    Throttled,
    WrongDestination,
)
from reverse_etl.iterable.answers import JWT_CODES
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.connection import HOSTS, IterableConnection, Region


async def diagnose(connection: IterableConnection, *, hosts: Mapping[Region, str] = HOSTS) -> tuple[bool, str]:
    """Return whether calls would be accepted, and one sentence for a human. Nothing is written to the project.

    A refused key is tried on the other region's host in `hosts`, unless the connection has a host of its own.
    """
    error = await _probe(replace(connection, host=connection.host or hosts[connection.region]))
    if isinstance(error, AuthenticationRefused) and not connection.host:
        other = Region.EU if connection.region is Region.US else Region.US
        if not isinstance(
            await _probe(replace(connection, host=hosts[other])), AuthenticationRefused | ConnectionFailed
        ):
            return (
                False,
                f"Wrong region: the key belongs to {other}, the connection says {connection.region}.",
            )
    return _explain(error)


async def _probe(connection: IterableConnection) -> DestinationError | None:
    async with IterableClient(connection, retry=RetryPolicy(tries=1)) as client:
        try:
            await client.probe()
        except DestinationError as error:
            return error
    return None


def _explain(error: DestinationError | None) -> tuple[bool, str]:
    match error:
        case None:
            return True, "Connected: the key may write users."
        case Throttled():
            return True, "Connected: the key is known, but the rate limit is used up at the moment."
        case AuthenticationRefused() if error.code in JWT_CODES:
            return False, f"Wrong JWT secret: the key is known, but its token was refused. Code: {error.code}"
        case AuthenticationRefused():
            return False, f"Wrong key: {error}"
        case WrongDestination():
            return False, f"Wrong host: {error}"
        case ConnectionFailed():
            return False, f"Unreachable host: {error}"
        case CallFailed():
            return False, f"The host answers, but not as Iterable does when it is well: {error}"
        case _:
            return False, f"Unexpected answer: {error}"
