"""The ledger of this Airflow, and what a deliver task writes into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, conf
from airflow.sdk.exceptions import AirflowNotFoundException

from reverse_etl.operators.base import RUN_FACTS, pulled
from reverse_etl.sync import Sync

if TYPE_CHECKING:
    from reverse_etl.delivery.journal import Journal
    from reverse_etl.delivery.pacing import Paces
    from reverse_etl.ledger.journal import BatchJournal, Compared
    from reverse_etl.ledger.ledger import Ledger
    from reverse_etl.ledger.records import RunRef

LEDGER_CONN_ID = "reverse_etl_ledger"

EARLIER_MAPPINGS = 3
"""Mappings a dry run looks back: rows may have been delivered last under any of them."""


def open_ledger(*, create: bool = True) -> Ledger:
    """Open the ledger, to be closed or used in a `with`.

    Raises LedgerUnavailable, ConfigurationError, and NoLedger without `create` when there is none yet.
    """
    from reverse_etl.ledger.ledger import Ledger

    return Ledger.open(ledger_url(), create=create)


def ledger_url() -> str:
    """Return the URL of the ledger: the connection `reverse_etl_ledger`, else a SQLite file. It holds the password."""
    from sqlalchemy import URL

    try:
        connection = BaseHook.get_connection(LEDGER_CONN_ID)
    except AirflowNotFoundException:
        return f"sqlite:///{_ledger_path()}"
    if connection.conn_type == "sqlite":
        return f"sqlite:///{connection.host or connection.schema or ''}"
    url = URL.create(
        connection.conn_type or "unknown",
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
    )
    return url.render_as_string(hide_password=False)


def run_ref(sync: Sync, context: Mapping[str, Any], extract_task_id: str) -> RunRef:
    """Return the attempt of the run: retries of its tasks go on with it, a person's Clear begins a new one."""
    facts = pulled(context["ti"], extract_task_id, RUN_FACTS)
    return attempt_of(sync, context, date.fromisoformat(facts["day"]), facts["window_days"])


def attempt_of(sync: Sync, context: Mapping[str, Any], day: date, window_days: int) -> RunRef:
    """Return the attempt of the run, which handles that day and window."""
    from reverse_etl.ledger.records import RunRef

    dag_run = context["dag_run"]
    return RunRef(dag_run.dag_id, dag_run.run_id, sync.name, dag_run.clear_number, day, window_days)


@dataclass(frozen=True)
class Preview:
    """What a dry run compares with: row states, and mappings the sync had before, as text, the latest first."""

    compared: Compared
    earlier: Sequence[str]
    sends_all: bool


@dataclass
class Recording:
    """What the delivery of one batch is recorded with and paced by.

    `blocked` gives the hashed people whom an account was asked to take no data of.
    `preview` is there in a dry run only. After `close`, `resumed` are the calls an earlier try of the task had settled,
    which were not sent again, and `resent` those an earlier attempt of the run had delivered, which were.
    """

    journal: Journal
    paces: Paces
    batch: BatchJournal | None = None
    preview: Preview | None = None
    blocked: Callable[[str], frozenset[str]] = lambda _account: frozenset()
    resumed: int = 0
    resent: int = 0

    def close(self, *, is_answered: bool = True) -> None:
        """Finish the batch in the ledger; raises LedgerUnavailable.

        Unless it `is_answered`, what it sent is not known to the last call, and it stays open until another try.
        """
        if self.batch is not None:
            self.resumed = self.batch.resumed
            if is_answered:
                self.batch.close()
            self.resent = self.batch.resent()


@contextmanager
def recording(
    ref: RunRef, batch: int, *, compares: bool = False, sends: bool = True, mapping: str = ""
) -> Iterator[Recording]:
    """Open the ledger for one batch of an attempt, to send it or only to ask what became of it.

    `compares` leaves alone what equals the calls last delivered; `mapping` is that of the sync, as text.
    """
    from reverse_etl.ledger.journal import BatchJournal
    from reverse_etl.ledger.pacing import shared_paces

    with open_ledger() as ledger:
        attempt = ledger.begin(ref)
        if mapping:
            attempt.note_mapping(mapping)
        journal = BatchJournal(attempt, batch, compares=compares, sends=sends)
        yield Recording(journal, shared_paces(ledger.budgets), journal, blocked=ledger.blocked)


@contextmanager
def previewing(sync: Sync, *, sends_all: bool) -> Iterator[Recording]:
    """Open the ledger for a dry run, which asks what a run begun now would do, and records nothing."""
    from reverse_etl.delivery.pacing import Paces
    from reverse_etl.ledger.journal import Compared
    from reverse_etl.mapping_text import to_text

    with open_ledger() as ledger:
        compared = Compared(ledger.comparison(sync.name))
        present = to_text(sync.destination)
        earlier = [mapping for mapping in ledger.mappings(sync.name) if mapping != present]
        preview = Preview(compared, earlier[:EARLIER_MAPPINGS], sends_all)
        yield Recording(compared, Paces(), preview=preview, blocked=ledger.blocked)


@contextmanager
def no_recording() -> Iterator[Recording]:
    """Give what takes the ledger's place where nothing is to be asked or recorded."""
    from reverse_etl.delivery.journal import NoJournal
    from reverse_etl.delivery.pacing import Paces

    yield Recording(NoJournal(), Paces())


def _ledger_path() -> Path:
    configured = conf.get("reverse_etl", "ledger_path", fallback=None)
    home = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()
    return Path(configured) if configured else home.absolute() / "reverse_etl_ledger.db"
