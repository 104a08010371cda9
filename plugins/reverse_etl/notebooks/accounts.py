"""Where a notebook sends to: a sandbox in its own process, or the real account that the environment names."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from functools import cache
from typing import Any

from reverse_etl.customerio.notebook import CustomerIO
from reverse_etl.errors import ConfigurationError
from reverse_etl.iterable.notebook import IterableProject
from reverse_etl.notebooks.tables import print_table
from reverse_etl.sandbox.testing import CUSTOMERIO_KEY, SERVER_KEY, SandboxServer

CUSTOMERIO_KINDS = ("people", "events", "objects", "relationships", "devices", "suppressed", "dropped")
ITERABLE_KINDS = ("users", "events")

Reader = Callable[[str], list[dict[str, Any]]]


class Account:
    """The account behind a client.

    `host` is what a client is given to reach it, empty for the platform's own; `sandbox` is None where it is a real
    one. That cannot be read: `look` says what to do instead.
    """

    def __init__(
        self,
        name: str,
        kinds: tuple[str, ...],
        *,
        host: str,
        look: str,
        sandbox: SandboxServer | None = None,
        read: Reader | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.sandbox = sandbox
        self._kinds = kinds
        self._look = look
        self._read = read

    def __repr__(self) -> str:
        return f"a real account of {self.name}" if self.sandbox is None else f"a sandbox of {self.name} in this process"

    def show(self, kind: str, *columns: str) -> None:
        """Print what the sandbox has of one kind, such as `people`; dots in a column lead inside, as in `traits.plan`.

        Of a real account print where to look instead. Raise ConfigurationError for an unknown kind.
        """
        if kind not in self._kinds:
            raise ConfigurationError(f"kind {kind!r} is unknown; allowed: {', '.join(self._kinds)}")
        if self._read is None:
            print(f"{kind}: {self._look}")  # noqa: T201 - what the cell shows
        else:
            print_table(kind, columns, self._read(kind))


def open_customerio() -> tuple[CustomerIO, Account]:
    """Return a client and the account it sends to: an empty sandbox unless CUSTOMERIO_API_KEY is set.

    CUSTOMERIO_REGION, for classic keys, and CUSTOMERIO_HOST go with the key. Raise ConfigurationError where they are
    set without one.
    """
    look = "look for them in the workspace; the API has nothing to read with"
    given = _given("CUSTOMERIO")
    if given is not None:
        key, region, host = given
        client = CustomerIO(key, region=region, host=host)
        return client, Account("Customer.io", CUSTOMERIO_KINDS, host=host, look=look)
    sandbox = _sandbox()
    client = CustomerIO(CUSTOMERIO_KEY, host=sandbox.url)
    return client, Account(
        "Customer.io", CUSTOMERIO_KINDS, host=sandbox.url, look=look, sandbox=sandbox, read=sandbox.customerio.records
    )


def open_iterable() -> tuple[IterableProject, Account]:
    """Return a client and the account it sends to: an empty sandbox unless ITERABLE_API_KEY is set.

    ITERABLE_REGION and ITERABLE_HOST go with the key. Raise ConfigurationError where they are set without one.
    """
    look = "look for them in the project"
    given = _given("ITERABLE")
    if given is not None:
        key, region, host = given
        client = IterableProject(key, region=region or "us", host=host)
        return client, Account("Iterable", ITERABLE_KINDS, host=host, look=look)
    sandbox = _sandbox()
    client = IterableProject(SERVER_KEY, host=sandbox.url)
    return client, Account(
        "Iterable",
        ITERABLE_KINDS,
        host=sandbox.url,
        look=look,
        sandbox=sandbox,
        read=lambda kind: sandbox.get(f"/sandbox/{kind}"),
    )


@cache
def _running() -> SandboxServer:
    sandbox = SandboxServer()
    sandbox.__enter__()
    atexit.register(sandbox.__exit__, None, None, None)
    return sandbox


def _sandbox() -> SandboxServer:
    """Return the sandbox of this process, empty."""
    sandbox = _running()
    sandbox.reset()
    return sandbox


def _given(platform: str) -> tuple[str, str, str] | None:
    """Return key, region and host of the environment, the last two empty where not set; None where there is no key."""
    key, region, host = (os.environ.get(f"{platform}_{name}", "").strip() for name in ("API_KEY", "REGION", "HOST"))
    if key:
        return key, region, host
    if region or host:
        raise ConfigurationError(
            f"{platform}_{'REGION' if region else 'HOST'} is set and {platform}_API_KEY is not; "
            "set the key, or neither for the sandbox"
        )
    return None
