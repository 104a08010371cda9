"""The Airflow hook for Customer.io: from a connection to a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from reverse_etl.customerio.auth import authorization
from reverse_etl.customerio.config import CustomerIODestination
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.delivery.settings import stored_host
from reverse_etl.delivery.waiting import waited_for
from reverse_etl.errors import CallRejected, ConfigurationError

if TYPE_CHECKING:
    from reverse_etl.checking import Finding
    from reverse_etl.customerio.client import CustomerIOClient
    from reverse_etl.customerio.destination import CustomerIODelivery
    from reverse_etl.customerio.messages import Message
    from reverse_etl.customerio.privacy import CustomerIOPrivacy
    from reverse_etl.delivery.outcomes import Receipt
    from reverse_etl.delivery.pacing import Paces
    from reverse_etl.delivery.privacy import Action
    from reverse_etl.sync import Sync


class CustomerIOHook(BaseHook):
    """Connects to one Customer.io workspace.

    The connection is read when it is first used. `send` is for a message now and then; a task with many uses
    `client()` and its `batch`.
    """

    conn_name_attr = "customerio_conn_id"
    default_conn_name = "customerio_default"
    conn_type = "customerio"
    hook_name = "Customer.io"

    def __init__(self, customerio_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.customerio_conn_id = customerio_conn_id

    @cached_property
    def connection(self) -> CustomerIOConnection:
        """The checked settings of the Airflow connection; raises ConfigurationError that names what is wrong."""
        try:
            return self._read()
        except ConfigurationError as problem:
            raise ConfigurationError(f"connection {self.customerio_conn_id}: {problem}") from None

    def _read(self) -> CustomerIOConnection:
        stored = self.get_connection(self.customerio_conn_id)
        connection = CustomerIOConnection.from_parts(
            password=stored.password, host=stored_host(stored), extra=stored.extra_dejson
        )
        mask_secret(connection.api_key)
        mask_secret(authorization(connection.api_key).split()[1])
        return connection

    def client(self, paces: Paces | None = None) -> CustomerIOClient:
        """Return an async client; open it with `async with`. Without `paces` it shares its rate with nobody."""
        from reverse_etl.customerio.client import CustomerIOClient

        return CustomerIOClient(self.connection, paces=paces)

    def get_conn(self) -> CustomerIOClient:
        """Return what client() returns; the name is Airflow's."""
        return self.client()

    @asynccontextmanager
    async def destination(self, sync: Sync, paces: Paces | None = None) -> AsyncIterator[CustomerIODelivery]:
        """Open the destination of a sync for the delivery engine."""
        from reverse_etl.customerio.destination import CustomerIODelivery

        mapping = self._mapping(sync)
        async with self.client(paces) as client:
            yield CustomerIODelivery(
                client, sync.name, sync.key, mapping, requests_in_flight=self.connection.requests_in_flight
            )

    def privacy_actions(self) -> frozenset[Action]:
        """Return the privacy actions that can be carried out."""
        from reverse_etl.customerio.privacy import CustomerIOPrivacy

        return CustomerIOPrivacy.actions

    @asynccontextmanager
    async def privacy(self, paces: Paces | None = None) -> AsyncIterator[CustomerIOPrivacy]:
        """Open the workspace for privacy actions."""
        from reverse_etl.customerio.privacy import CustomerIOPrivacy

        async with self.client(paces) as client:
            yield CustomerIOPrivacy(client, self.connection.account)

    async def check(self, sync: Sync, kinds: Mapping[str, str], paces: Paces | None = None) -> list[Finding]:
        """Return what can be said of the connection and the mapped fields; one request, nothing written.

        `kinds` are those of the query's columns. Raises the DestinationError of a workspace that refuses or does not
        answer.
        """
        from reverse_etl.checking import ok
        from reverse_etl.customerio.checks import check_mapping

        async with self.client(paces) as client:
            try:
                await client.confirm_key()
            except CallRejected:
                self.log.debug("the empty batch was refused, after the key was accepted")
        return [ok("connection", "the key may send messages"), *check_mapping(self._mapping(sync), kinds)]

    def _mapping(self, sync: Sync) -> CustomerIODestination:
        if not isinstance(sync.destination, CustomerIODestination):
            raise ConfigurationError(f"sync {sync.name} is not for Customer.io: {type(sync.destination).__name__}")
        return sync.destination

    def send(self, message: Message) -> Receipt:
        """Send one message made by a function of `customerio.messages` and wait for the answer."""
        return waited_for(_sent(self.client(), message))

    def test_connection(self) -> tuple[bool, str]:
        """Tell a wrong key, a wrong region and an unreachable host apart; nothing is written."""
        from reverse_etl.customerio.diagnosis import diagnose

        try:
            # Without the connection's id: Airflow tests what its form holds under one it makes up.
            return waited_for(diagnose(self._read()))
        except ConfigurationError as problem:
            return False, str(problem)


async def _sent(client: CustomerIOClient, message: Message) -> Receipt:
    async with client:
        return await client.send(message)
