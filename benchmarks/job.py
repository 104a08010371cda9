"""What a contender is told and what it tells: each one runs in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.database import PrivateServer

if TYPE_CHECKING:
    from MySQLdb.connections import Connection

API_KEY = "sandbox-server-key"
HASH_KEY = "hash-key-of-the-benchmarks"


@dataclass(frozen=True)
class Job:
    """`url` is the sandbox's; `folder` is for the files of this job; `database` is the private server's folder.

    `limited` says whether the client keeps the published limits, `processes` how many batches are delivered at once,
    `ledger` the URL of the ledger, a SQLite file in `folder` when empty.
    """

    url: str
    database: str
    folder: str
    rows: int
    in_flight: int = 100
    limited: bool = True
    processes: int = 1
    ledger: str = ""

    @classmethod
    def given(cls) -> Job:
        """Return the job whose folder is the only argument of this process."""
        return cls(**json.loads((Path(sys.argv[1]) / "job.json").read_text(encoding="utf-8")))

    def give(self) -> list[str]:
        """Write the job where its contender reads it; return the contender's arguments."""
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "job.json").write_text(json.dumps(asdict(self)), encoding="utf-8")
        return [self.folder]

    def finish(self, **facts: object) -> None:
        """Tell what was measured."""
        (Path(self.folder) / "result.json").write_text(json.dumps(facts), encoding="utf-8")

    def server(self) -> PrivateServer:
        """Return the database server, which runs already."""
        return PrivateServer(Path(self.database))

    @contextmanager
    def source(self) -> Iterator[Connection]:
        """Open a connection to the running database as the user who may only read."""
        with self.server() as server:
            connection = server.connect_source()
            try:
                yield connection
            finally:
                if connection.open:
                    connection.close()
