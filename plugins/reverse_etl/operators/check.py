"""The check task, the first of a DAG: what would make the run useless is told before a row is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.providers.mysql.hooks.mysql import MySqlHook

from reverse_etl.checking import Finding, Level, error, errors_of, ok, warning
from reverse_etl.errors import CheckFailed, ConfigurationError
from reverse_etl.operators.base import RunParams, SyncOperator
from reverse_etl.operators.batch import hook_of
from reverse_etl.operators.ledger import open_ledger
from reverse_etl.operators.reading import day_of
from reverse_etl.operators.source import sql_parameters
from reverse_etl.run_day import RunDay
from reverse_etl.sync import file_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reverse_etl.sync import Sync


class CheckOperator(SyncOperator):
    """Looks at the query's columns and asks the platform about connection and fields, without reading or sending a row.

    Logs every finding; a warning fails nothing. In a dry run the platform is not asked. Returns the number of findings
    by level. Reads the params `date`, `window_days` and `dry_run`.
    """

    def execute(self, context: Any) -> dict[str, int]:
        """Check; raises CheckFailed, SourceError, and what the platform refuses or fails with."""
        params = RunParams.of(context)
        if params.dry_run:
            self.log.info("DRY RUN, the platform is not asked")
        run_day = RunDay(day_of(context["dag_run"], params.date), params.window_days)
        findings = check_sync(self.sync, run_day, ask=not params.dry_run)
        for finding in findings:
            log = self.log.info if finding.level is Level.OK else self.log.warning
            log("%s: %s: %s", finding.level.value, finding.what, finding.said)
        if failing := errors_of(findings):
            raise CheckFailed("; ".join(f"{finding.what}: {finding.said}" for finding in failing))
        return {level.value: sum(finding.level is level for finding in findings) for level in Level}


def check_sync(sync: Sync, run_day: RunDay, *, ask: bool) -> list[Finding]:
    """Return what is found about a sync; `ask` says whether the platform may be asked, by two requests at most.

    Raises SourceError when a query does not run, and the DestinationError of a platform that refuses the connection or
    does not answer.
    """
    try:
        parameters = sql_parameters(sync, run_day)
        kinds = _kinds(sync.source_conn_id, sync.sql(), parameters)
        sync.check_columns(kinds)
    except ConfigurationError as problem:
        return [error("query", str(problem))]
    findings = [ok("query", f"{sync.query.name} gives all columns, of types that fit"), *_consent(sync, parameters)]
    if ask:
        findings += asyncio.run(_ask(sync, kinds))
    return findings


def _consent(sync: Sync, parameters: Mapping[str, object]) -> list[Finding]:
    consent = sync.consent
    if consent is None or consent.query is None:
        return []
    from reverse_etl.staging.consent import check_people

    people = _kinds(consent.source_conn_id or sync.source_conn_id, file_text(consent.query), parameters)
    try:
        consent.compared(people, sync.destination)
        check_people(people)
    except ConfigurationError as problem:
        return [error("consent", str(problem))]
    return [ok("consent", f"{consent.query.name} gives people that can be compared")]


async def _ask(sync: Sync, kinds: Mapping[str, str]) -> list[Finding]:
    from reverse_etl.ledger.pacing import shared_paces

    hook = hook_of(sync)
    if not hasattr(hook, "check"):
        return [warning("platform", "the destination has no checks of its own")]
    with open_ledger() as ledger:
        findings: list[Finding] = await hook.check(sync, kinds, shared_paces(ledger.budgets))
        return findings


def _kinds(conn_id: str, sql: str, parameters: Mapping[str, object]) -> dict[str, str]:
    """Return the kinds of a query's columns, without reading a row."""
    from reverse_etl.staging.columns import arrow_schema
    from reverse_etl.staging.kinds import column_kinds
    from reverse_etl.staging.mysql_errors import source_errors
    from reverse_etl.staging.source import describe_query

    with source_errors("connecting to the database"):
        connection = MySqlHook(conn_id).get_conn()
    return column_kinds(arrow_schema(describe_query(connection, sql, parameters)))
