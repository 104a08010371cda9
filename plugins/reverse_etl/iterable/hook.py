"""The Airflow hook for Iterable: from a connection to a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.settings import stored_host
from reverse_etl.delivery.waiting import waited_for
from reverse_etl.errors import ConfigurationError
from reverse_etl.iterable.config import IterableDestination, IterableRemoval, RemoveFromList
from reverse_etl.iterable.connection import IterableConnection

if TYPE_CHECKING:
    from reverse_etl.checking import Finding
    from reverse_etl.delivery.pacing import Paces
    from reverse_etl.delivery.privacy import Action
    from reverse_etl.iterable.client import IterableClient
    from reverse_etl.iterable.destination import IterableDelivery
    from reverse_etl.iterable.privacy import IterablePrivacy
    from reverse_etl.iterable.removal import DeletionDelivery, ListDelivery
    from reverse_etl.sync import Sync


class IterableHook(BaseHook):
    """Connects to one Iterable project.

    The connection is read when it is first used. `update_user` and `track_event` are for a call now and then; a task
    with many rows uses `client()`, which keeps many requests in flight.
    """

    conn_name_attr = "iterable_conn_id"
    default_conn_name = "iterable_default"
    conn_type = "iterable"
    hook_name = "Iterable"

    def __init__(self, iterable_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.iterable_conn_id = iterable_conn_id

    @cached_property
    def connection(self) -> IterableConnection:
        """The checked settings of the Airflow connection; raises ConfigurationError that names what is wrong."""
        try:
            return self._read()
        except ConfigurationError as problem:
            raise ConfigurationError(f"connection {self.iterable_conn_id}: {problem}") from None

    def _read(self) -> IterableConnection:
        stored = self.get_connection(self.iterable_conn_id)
        connection = IterableConnection.from_parts(
            password=stored.password, host=stored_host(stored), extra=stored.extra_dejson
        )
        for secret in filter(None, (connection.api_key, connection.jwt_secret)):
            mask_secret(secret)
        return connection

    def client(self, paces: Paces | None = None) -> IterableClient:
        """Return an async client; open it with `async with`. Without `paces` it shares its rate with nobody."""
        from reverse_etl.iterable.client import IterableClient

        return IterableClient(self.connection, paces=paces)

    def get_conn(self) -> IterableClient:
        """Return what client() returns; the name is Airflow's."""
        return self.client()

    @asynccontextmanager
    async def destination(
        self, sync: Sync, paces: Paces | None = None
    ) -> AsyncIterator[IterableDelivery | DeletionDelivery | ListDelivery]:
        """Open the destination of a sync for the delivery engine."""
        from reverse_etl.iterable.destination import IterableDelivery

        if isinstance(sync.destination, IterableRemoval):
            async with self.client(paces) as client:
                yield self._removal(client, sync.destination)
            return
        mapping = self._mapping(sync)
        async with self.client(paces) as client:
            yield IterableDelivery(
                client,
                sync.name,
                sync.key,
                mapping,
                calls=self._calls(mapping),
                requests_in_flight=self.connection.requests_in_flight,
            )

    def _removal(self, client: IterableClient, mapping: IterableRemoval) -> DeletionDelivery | ListDelivery:
        from reverse_etl.iterable.removal import DeletionDelivery, ListDelivery

        in_flight = self.connection.requests_in_flight
        if not isinstance(mapping.action, RemoveFromList):
            return DeletionDelivery(client, mapping, requests_in_flight=in_flight)
        if self.connection.jwt_secret:
            raise ConfigurationError(
                f"connection {self.iterable_conn_id}: RemoveFromList needs a key without JWT; the list endpoints are "
                "closed to others"
            )
        return ListDelivery(client, mapping, mapping.action, requests_in_flight=in_flight)

    def privacy_actions(self) -> frozenset[Action]:
        """Return the privacy actions that can be carried out."""
        from reverse_etl.iterable.privacy import IterablePrivacy

        return IterablePrivacy.actions

    @asynccontextmanager
    async def privacy(self, paces: Paces | None = None) -> AsyncIterator[IterablePrivacy]:
        """Open the project for privacy actions."""
        from reverse_etl.iterable.privacy import IterablePrivacy

        async with self.client(paces) as client:
            yield IterablePrivacy(client, self.connection.account)

    async def check(self, sync: Sync, kinds: Mapping[str, str], paces: Paces | None = None) -> list[Finding]:
        """Return what the project says of the connection and the mapped fields; at most two requests, nothing written.

        `kinds` are those of the query's columns. Raises the DestinationError of a project that refuses or does not
        answer.
        """
        from reverse_etl.iterable.checks import check_project

        async with self.client(paces) as client:
            return await check_project(client, self._mapping(sync), kinds, uses_jwt=bool(self.connection.jwt_secret))

    def _mapping(self, sync: Sync) -> IterableDestination:
        if not isinstance(sync.destination, IterableDestination):
            raise ConfigurationError(f"sync {sync.name} is not for Iterable: {type(sync.destination).__name__}")
        return sync.destination

    def _calls(self, mapping: IterableDestination) -> Literal["bulk", "single"]:
        if mapping.calls == "bulk" and self.connection.jwt_secret:
            self.log.warning("JWT-enabled keys may not use the bulk endpoints; calls go one by one")
            return "single"
        return mapping.calls

    def update_user(self, payload: Mapping[str, object]) -> Receipt:
        """Create or update one user and wait for the answer; raises a DestinationError unless it was confirmed."""
        return waited_for(_sent(self.client(), "update_user", payload))

    def track_event(self, payload: Mapping[str, object]) -> Receipt:
        """Track one event and wait for the answer; give it an `id`, so that a retry cannot store it twice."""
        return waited_for(_sent(self.client(), "track_event", payload))

    def test_connection(self) -> tuple[bool, str]:
        """Tell a wrong key, a wrong region and an unreachable host apart; nothing is written."""
        from reverse_etl.iterable.diagnosis import diagnose

        try:
            # Without the connection's id: Airflow tests what its form holds under one it makes up.
            return waited_for(diagnose(self._read()))
        except ConfigurationError as problem:
            return False, str(problem)


async def _sent(client: IterableClient, method: str, payload: Mapping[str, object]) -> Receipt:
    async with client:
        receipt: Receipt = await getattr(client, method)(payload)
        return receipt
