"""The check task, the first of a DAG: what would make the run useless is told before a row is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from reverse_etl.checking import Finding, Level, error, errors_of, ok, warning
from reverse_etl.errors import CheckFailed, ConfigurationError, SourceError
from reverse_etl.operators.base import RunParams, SyncOperator
from reverse_etl.operators.batch import hook_of
from reverse_etl.operators.ledger import open_ledger
from reverse_etl.operators.reading import day_of
from reverse_etl.operators.source import query_kinds, sql_parameters
from reverse_etl.run_day import RunDay
from reverse_etl.staging.statement import read_statement
from reverse_etl.sync import file_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reverse_etl.sync import Sync


class CheckOperator(SyncOperator):
    """Looks at the query's columns and asks the platform about connection and fields, without reading or sending a row.

    Logs every finding; a warning fails nothing. In a dry run the platform is not asked. Returns the number of findings
    by level. Reads the params `date`, `window_days` and `dry_run`.
    """

    def execute(self, context: Any) -> dict[str, int]:
        """Check; raises CheckFailed, SourceUnavailable, and what the platform refuses or fails with."""
        params = RunParams.of(context)
        if params.dry_run:
            self.log.info("DRY RUN, the platform is not asked")
        run_day = RunDay(day_of(context["dag_run"], params.date), params.window_days)
        findings = [*self._mirror(), *check_sync(self.sync, run_day, ask=not params.dry_run)]
        for finding in findings:
            log = self.log.info if finding.level is Level.OK else self.log.warning
            log("%s: %s: %s", finding.level.value, finding.what, finding.said)
        if failing := errors_of(findings):
            raise CheckFailed("; ".join(f"{finding.what}: {finding.said}" for finding in failing))
        return {level.value: sum(finding.level is level for finding in findings) for level in Level}

    def _mirror(self) -> list[Finding]:
        """Find a mirror whose DAG would never remove anybody."""
        from reverse_etl.operators.mirror_tasks import FindLeavingOperator, RemoveOperator

        if self.sync.mirror is None:
            return []
        there = [getattr(task, "operator_class", type(task)) for task in self.dag.tasks]
        missing = [
            wanted.__name__
            for wanted in (FindLeavingOperator, RemoveOperator)
            if not any(issubclass(found, wanted) for found in there)
        ]
        if missing:
            return [error("mirror", f"the DAG has no {' and no '.join(missing)}, so nobody would be removed: add it")]
        return [ok("mirror", "the DAG has the tasks that find and remove what has left")]


def check_sync(sync: Sync, run_day: RunDay, *, ask: bool) -> list[Finding]:
    """Return what is found about a sync; `ask` says whether the platform may be asked, by two requests at most.

    Raises SourceUnavailable, and the DestinationError of a platform that refuses the connection or does not answer.
    """
    try:
        parameters = sql_parameters(sync, run_day)
        kinds = query_kinds(sync.source_conn_id, sync.sql(), parameters)
        sync.check_columns(kinds)
    except (ConfigurationError, SourceError) as problem:
        return [_unusable("query", sync.query, problem)]
    findings = [ok("query", f"{sync.query.name} gives all columns, of types that fit"), *_consent(sync, parameters)]
    findings += _event_ids(sync, parameters)
    if ask:
        findings += asyncio.run(_ask(sync, kinds))
    return findings


def _consent(sync: Sync, parameters: Mapping[str, object]) -> list[Finding]:
    consent = sync.consent
    if consent is None or consent.query is None:
        return []
    from reverse_etl.staging.consent import check_people

    try:
        people = query_kinds(consent.source_conn_id or sync.source_conn_id, file_text(consent.query), parameters)
        consent.compared(people, sync.destination)
        check_people(people)
    except (ConfigurationError, SourceError) as problem:
        return [_unusable("consent", consent.query, problem)]
    return [ok("consent", f"{consent.query.name} gives people that can be compared")]


def _unusable(what: str, query: Path, problem: ConfigurationError | SourceError) -> Finding:
    """Return the problem with a query as a finding; raises one that another try may get past."""
    if problem.retryable:
        raise problem
    # Only the mapping's own errors name their file.
    return error(what, f"{query.name}: {problem}" if isinstance(problem, SourceError) else str(problem))


def _event_ids(sync: Sync, parameters: Mapping[str, object]) -> list[Finding]:
    """Warn of an event that a person can have only once, although the query reads another stretch of time each day."""
    ids = sync.destination.event_ids(sync.key)
    is_of_window = sync.incremental is None and read_statement(sync.sql(), parameters).placeholders
    if not ids or not is_of_window or not set(ids) <= set(sync.destination.identifiers()):
        return []
    return [
        warning(
            "event id",
            f"made of {', '.join(ids)}, which names the person only: an event of another day has the same id, and is "
            "ignored by Customer.io and replaces the first at Iterable. Unless a person is to have one event for ever, "
            "give id_columns a column that differs by day as well",
        )
    ]


async def _ask(sync: Sync, kinds: Mapping[str, str]) -> list[Finding]:
    from reverse_etl.ledger.pacing import shared_paces

    hook = hook_of(sync)
    if not hasattr(hook, "check"):
        return [warning("platform", "the destination has no checks of its own")]
    with open_ledger() as ledger:
        findings: list[Finding] = await hook.check(sync, kinds, shared_paces(ledger.budgets))
        return findings
