"""What is wrong with a connection, told apart: the key, the region, the host, the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reverse_etl.customerio.client import CustomerIOClient
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.customerio.limits import HOSTS, Region
from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.errors import (
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    ConnectionFailed,
    DestinationError,
    Throttled,
    WrongDestination,
)


async def diagnose(connection: CustomerIOConnection, *, hosts: Mapping[Region, str] = HOSTS) -> tuple[bool, str]:
    """Return whether messages would be accepted, and one sentence for a human.

    An empty batch is sent: it writes nothing, and strict mode checks the key. A refused key is tried on the other
    region's host in `hosts`, unless the connection has a host of its own or the key names its region.
    """
    region = Region(connection.region)
    error = await _probe(replace(connection, host=connection.host or hosts[region]))
    if isinstance(error, AuthenticationRefused) and not connection.host and not connection.region_is_of_key:
        other = Region.EU if region is Region.US else Region.US
        found = await _probe(replace(connection, host=hosts[other]))
        if found is None or isinstance(found, CallRejected):
            return False, f"Wrong region: the key belongs to {other}, the connection says {region}."
    return _explain(error)


async def _probe(connection: CustomerIOConnection) -> DestinationError | None:
    async with CustomerIOClient(connection, retry=RetryPolicy(tries=1)) as client:
        try:
            await client.probe()
        except DestinationError as error:
            return error
    return None


def _explain(error: DestinationError | None) -> tuple[bool, str]:
    match error:
        case None | CallRejected():  # an empty batch may be refused; the key was checked before
            return True, "Connected: the key may send messages."
        case Throttled():
            return True, "Connected, but the rate limit is used up at the moment: the key may not have been checked."
        case AuthenticationRefused():
            return False, f"Wrong key: {error}"
        case WrongDestination():
            return False, f"Wrong host: {error}"
        case ConnectionFailed():
            return False, f"Unreachable host: {error}"
        case CallFailed():
            return False, f"The host answers, but not as Customer.io does when it is well: {error}"
        case _:
            return False, f"Unexpected answer: {error}"
