"""What a run needs besides Airflow: the database and the sandbox, or the user's own servers instead."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from devstack.database import PrivateServer
from devstack.layout import Layout
from devstack.sandbox import Sandbox
from devstack.settings import CUSTOMERIO_VARIABLE, ITERABLE_VARIABLE, MYSQL_VARIABLE, user_environment

PLATFORMS = {"iterable_default": ITERABLE_VARIABLE, "customerio_default": CUSTOMERIO_VARIABLE}
"""The connections the sandbox stands in for, with the variables of the user's own."""


@dataclass
class Services:
    """The embedded servers of a project folder; None where the user has set connections of their own.

    `sandboxed` are the connection ids that lead to the sandbox, because the user has set no platform for them.
    """

    layout: Layout
    database: PrivateServer | None
    sandbox: Sandbox | None
    sandboxed: tuple[str, ...] = tuple(PLATFORMS)

    @classmethod
    def chosen(cls, layout: Layout, environ: Mapping[str, str], *, outlive: bool = False) -> Services:
        """Return the servers to embed: those whose connection the user has set nowhere (shell, `.env`)."""
        user = user_environment(layout, environ)
        database = None if user.get(MYSQL_VARIABLE) else PrivateServer(layout.database, outlive=outlive)
        sandboxed = tuple(conn_id for conn_id, variable in PLATFORMS.items() if not user.get(variable))
        sandbox = Sandbox(layout.local, env=user, outlive=outlive) if sandboxed else None
        return cls(layout, database, sandbox, sandboxed)

    @classmethod
    def embedded(cls, layout: Layout) -> Services:
        """Return both servers of the folder, whatever the environment says; used for stopping them."""
        return cls(layout, PrivateServer(layout.database), Sandbox(layout.local))

    def __enter__(self) -> Services:
        try:
            self.start()
        except BaseException:
            self.stop_started()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_started()

    def start(self) -> None:
        """Start what is not running yet and load the example data into the embedded database."""
        if self.database is not None:
            self.database.start()
            self._load(self.database)
        if self.sandbox is not None:
            self.sandbox.start()

    @property
    def are_all_embedded(self) -> bool:
        """Whether nothing is read from or sent to a server of the user's own."""
        return self.database is not None and self.sandboxed == tuple(PLATFORMS)

    @property
    def are_running(self) -> bool:
        """Whether every server that is to be embedded runs."""
        return all(server is None or server.is_running for server in (self.database, self.sandbox))

    def stop_started(self) -> None:
        """Stop the servers this object started; those it joined run on."""
        for server in (self.sandbox, self.database):
            if server is not None and server.started_here:
                server.stop()

    def connections(self) -> dict[str, dict[str, object]]:
        """Return the embedded servers' connections in Airflow's JSON form, by connection id."""
        found: dict[str, dict[str, object]] = {}
        if self.database is not None:
            found["mysql_default"] = self.database.airflow_connection()
        if self.sandbox is not None:
            found |= {conn_id: self.sandbox.airflow_connection(conn_id) for conn_id in self.sandboxed}
        return found

    def _load(self, database: PrivateServer) -> None:
        """Load schema and seed unless these very files are loaded already, so that rows added by hand stay."""
        files = [self.layout.sql / "schema.sql", self.layout.sql / "seed.sql"]
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()
        stamp = database.folder / "loaded"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
            return
        for file in files:
            database.load_sql(file)
        stamp.write_text(digest, encoding="utf-8")
