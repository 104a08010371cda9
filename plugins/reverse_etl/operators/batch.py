"""The delivery of one batch, from its Parquet file to its row results."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import ObjectStoragePath

from reverse_etl.errors import (
    AccountRefused,
    ConfigurationError,
    DestinationUnavailable,
    ReverseEtlError,
    StagingError,
)
from reverse_etl.operators.base import hash_key
from reverse_etl.operators.blocked import blocked_rows
from reverse_etl.operators.consent import withheld

if TYPE_CHECKING:
    from reverse_etl.delivery.outcomes import RowResult, Totals
    from reverse_etl.delivery.plan import Plan
    from reverse_etl.delivery.report import BatchDelivery
    from reverse_etl.errors import DestinationError
    from reverse_etl.operators.ledger import Recording
    from reverse_etl.staging.batches import BatchRef
    from reverse_etl.staging.files import StagingPath
    from reverse_etl.sync import Sync

REFUSAL_FACTS = ("status", "code", "request_id")


class Log(Protocol):
    """What is used of a logger: Airflow's tasks and the command line have different ones."""

    def info(self, event: str, *args: Any) -> None:
        """Log a line, formatted with %."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a batch: its counts for XCom, its rows by outcome, and what stopped it, if anything did."""

    counts: BatchDelivery
    totals: Totals
    stopped: BaseException | None


def deliver_batch(
    sync: Sync,
    batch: BatchRef,
    folder: ObjectStoragePath,
    recording: AbstractContextManager[Recording],
    *,
    attempt: int,
    log: Log,
) -> Delivered:
    """Deliver a batch, writing the result of each row to `folder`; `attempt` is the clear number of the run.

    What stops the batch is returned and not raised, unless the ledger cannot be opened, the results not be written, or
    the sync was changed since the batch was read.
    """
    from reverse_etl.delivery.progress import Progress
    from reverse_etl.delivery.report import BatchDelivery
    from reverse_etl.delivery.results import writing_results

    check_fits(sync, batch)
    target = results_file(folder, batch)
    refusals = Refusals(folder, attempt)
    with recording as record, writing_results(target) as results:
        progress = Progress(batch.rows, log.info, record.paces.use)

        def note(result: RowResult) -> None:
            results.add(result)
            progress.step()

        delivery = BatchRun(sync, batch, note, record, stopped=refusals.earlier())
        stopped = delivery.run()
        delivery.finish()
    totals, seconds = delivery.totals, progress.seconds
    if isinstance(stopped, AccountRefused):
        refusals.remember(stopped)
    log.info("batch %s: %s in %.1f s, %.0f rows/s", batch.index, totals, seconds, batch.rows / seconds)
    if record.resumed:
        log.info("%s calls were not sent again: an earlier try had settled them", record.resumed)
    if record.resent:
        log.info("%s calls were sent again, because somebody cleared the task", record.resent)
    counts = BatchDelivery(
        batch.index,
        str(target),
        totals.as_dict(),
        seconds,
        _reason(stopped),
        resumed_calls=record.resumed,
        resent_calls=record.resent,
        plan=delivery.plan.as_dict() if delivery.plan else None,
    )
    return Delivered(counts, totals, stopped)


def results_file(folder: ObjectStoragePath, batch: BatchRef) -> ObjectStoragePath:
    """Return where the row results of a batch lie."""
    target: ObjectStoragePath = folder / f"results-{batch.index:05d}.parquet"
    return target


def results_of_silent(sync: Sync, batch: BatchRef, record: Recording) -> Iterator[RowResult]:
    """Yield the rows of a batch whose task ended without a word, with what the ledger knows of their calls.

    Raises ConfigurationError when the sync was changed since the batch was read.
    """
    check_fits(sync, batch)
    silent = DestinationUnavailable("the deliver task ended without telling what became of its rows")
    results: list[RowResult] = []
    delivery = BatchRun(sync, batch, results.append, record, stopped=silent)
    delivery.run()
    delivery.finish()
    for result in results:
        yield result._replace(code="no_result") if result.code == "not_sent" else result


def check_fits(sync: Sync, batch: BatchRef) -> None:
    """Raise ConfigurationError when the sync needs columns the batch does not have, or of other types."""
    from reverse_etl.staging.batches import schema_of
    from reverse_etl.staging.kinds import column_kinds

    # Whoever reads the rows says what is wrong with the file.
    with suppress(StagingError):
        try:
            sync.check_columns(column_kinds(schema_of(ObjectStoragePath(batch.path))))
        except ConfigurationError as problem:
            raise ConfigurationError(
                f"batch {batch.index} was read before sync {sync.name} was changed: {problem}; "
                "clear the extract task to read its rows again"
            ) from None


class BatchRun:
    """The delivery of one batch, which leaves a result for every row however it ends.

    `stopped` is what ended the delivery of an earlier batch of the run: then nothing is sent.
    """

    def __init__(
        self,
        sync: Sync,
        batch: BatchRef,
        note: Callable[[RowResult], None],
        record: Recording,
        *,
        stopped: DestinationError | None = None,
    ) -> None:
        from reverse_etl.delivery.engine import DeliveryEngine
        from reverse_etl.staging.batches import read_rows

        self._sync = sync
        self._record = record
        self.plan = _plan(record)
        self._rows = itertools.chain.from_iterable(read_rows(ObjectStoragePath(batch.path)))
        self._engine = DeliveryEngine(
            key=sync.key,
            hash_key=hash_key(),
            on_result=note,
            journal=record.journal,
            withheld=withheld(sync, batch),
            plan=self.plan,
            stopped=stopped,
        )

    @property
    def totals(self) -> Totals:
        """Rows by outcome so far."""
        return self._engine.totals

    def run(self) -> BaseException | None:
        """Deliver; return what stopped it. A timeout of the task or a kill by Airflow comes as an exception too."""
        stopped = self._send()
        try:
            self._record.close(is_answered=self._engine.is_answered)
        except BaseException as problem:
            return stopped or problem
        return stopped

    def _send(self) -> BaseException | None:
        from reverse_etl.delivery.interpreter import tuned

        try:
            with tuned():
                asyncio.run(self._deliver())
        except BaseException as stopped:
            return stopped
        return None

    def finish(self) -> None:
        """Give a result to the rows that have none."""
        self._engine.abandon(self._rows)

    async def _deliver(self) -> None:
        from reverse_etl.delivery.plan import Earlier

        async with AsyncExitStack() as opened:
            hook = hook_of(self._sync)
            destination = await opened.enter_async_context(hook.destination(self._sync, self._record.paces))
            account = account_of(hook)
            if self.plan is not None and self._record.preview is not None:
                self.plan.hash_key = hash_key().for_account(account)
                self.plan.earlier = [
                    Earlier((await opened.enter_async_context(hook.destination(earlier))).render, columns)
                    for earlier, columns in _earlier(self._sync, self._record.preview.earlier)
                ]
            is_blocked = await asyncio.to_thread(blocked_rows, self._sync, hook, self._record)
            await self._engine.deliver(self._rows, destination, is_blocked, account)


class Refusals:
    """Remembers in the run's folder that the platform refused the account, so that later batches send nothing.

    A human who has mended the connection clears the tasks, which raises the run's clear number: then it is forgotten.
    """

    def __init__(self, folder: StagingPath, clear_number: int) -> None:
        self._marker = folder / f"account-refused-{clear_number}.json"

    def earlier(self) -> AccountRefused | None:
        """Return the refusal another batch of the run met, if one did; a marker that cannot be read is one too."""
        marker = self._marker
        if not marker.fs.exists(marker.path):
            return None
        message = "an earlier batch of this run was refused; nothing was sent"
        try:
            written = json.loads(marker.fs.cat_file(marker.path))
            facts = {name: written[name] for name in REFUSAL_FACTS}
        except (ValueError, KeyError, TypeError):
            return AccountRefused(message)
        return AccountRefused(message, **facts)

    def remember(self, refusal: AccountRefused) -> None:
        """Keep the facts of a refusal; raises StagingError. Another batch may ask at any moment."""
        from reverse_etl.staging.files import write_atomically

        facts = {name: getattr(refusal, name) for name in REFUSAL_FACTS}
        with write_atomically(self._marker) as handle:
            handle.write(json.dumps(facts).encode())


def _plan(record: Recording) -> Plan | None:
    """Return where a dry run's rows go instead of out."""
    from reverse_etl.delivery.plan import Plan

    preview = record.preview
    return None if preview is None else Plan(preview.sends_all, hash_key(), preview.compared.state)


def _earlier(sync: Sync, mappings: Iterable[str]) -> Iterator[tuple[Sync, frozenset[str]]]:
    """Yield the sync as it was with each earlier mapping, and the columns it read."""
    from reverse_etl.mapping_text import from_text

    for mapping in mappings:
        destination: Any = from_text(mapping)
        is_alike = type(destination) is type(sync.destination)
        if is_alike:
            columns = frozenset(destination.columns())
            here: Any = replace(destination, conn_id=sync.destination.conn_id)
            # The mirror may need what an earlier mapping did not have.
            yield replace(sync, destination=here, mirror=None), columns


def _reason(stopped: BaseException | None) -> str:
    """Our own errors say nothing personal; of others only the type is told."""
    if stopped is None:
        return ""
    return str(stopped) if isinstance(stopped, ReverseEtlError) else type(stopped).__name__


def account_of(hook: Any) -> str:
    """Return the hash of the account a hook sends to, empty where it has none."""
    return hook.connection.account if hasattr(hook, "connection") else ""


def hook_of(sync: Sync) -> Any:
    """Return the hook of the sync's destination, imported only here: a DAG file needs no client to be parsed."""
    module, _, name = sync.destination.hook_class.rpartition(".")
    return getattr(importlib.import_module(module), name)(sync.destination.conn_id)
