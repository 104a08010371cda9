"""Forgetting people: at every platform first, then in everything we keep; only the audit record stays."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.mysql.hooks.mysql import MySqlHook
from airflow.sdk import BaseHook, BaseOperator, Param
from airflow.sdk.exceptions import AirflowNotFoundException

from reverse_etl.errors import ConfigurationError, RunFailed, SourceError
from reverse_etl.operators.base import RETRY_POLICY, hash_key, refuse_unknown_params
from reverse_etl.operators.ledger import open_ledger
from reverse_etl.operators.purge import purge_person
from reverse_etl.operators.syncs import dags_folder, find_syncs
from reverse_etl.provider import get_provider_info

if TYPE_CHECKING:
    from reverse_etl.delivery.privacy import PersonId, PrivacyResult
    from reverse_etl.errors import DestinationError
    from reverse_etl.ledger.ledger import Ledger
    from reverse_etl.operators.purge import PurgedPerson
    from reverse_etl.operators.syncs import Syncs

COLUMNS = ("email", "user_id")
ACTIONS = ("suppress", "unsuppress", "delete", "forget")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of a job: the result of each connection, and what was removed here, if anything was."""

    results: Mapping[str, PrivacyResult]
    purged: PurgedPerson | None

    @property
    def is_done(self) -> bool:
        """Whether nobody is left whom a platform may still hold or whom it refused."""
        return all(len(result.gone) == result.read for result in self.results.values())

    @property
    def stopped(self) -> DestinationError | None:
        """What stopped a platform, if anything did: first of all what another try may get past."""
        stops = (result.stopped for result in self.results.values() if result.stopped is not None)
        return max(stops, key=lambda stop: stop.retryable, default=None)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the counts by connection and outcome, with `read`."""
        return {
            conn_id: {"read": result.read, **{str(outcome): count for outcome, count in result.outcomes.items()}}
            for conn_id, result in self.results.items()
        }


def connections_of(syncs: Syncs, action: str, named: Sequence[str] = ()) -> dict[str, str]:
    """Return the hook class by connection: those `named`, else those all syncs deliver to.

    Raises ConfigurationError for a connection of a type that is not ours or that cannot carry the action out, and when
    there is none.
    """
    if named:
        found = {conn_id: _hook_class(conn_id) for conn_id in named}
    else:
        every = [sync.destination for group in syncs.found.values() for sync in group]
        found = {destination.conn_id: destination.hook_class for destination in every}
    if not found:
        raise ConfigurationError("no DAG has a sync, so there is no connection to ask; name one")
    for conn_id, hook_class in found.items():
        known = _hook(hook_class, conn_id).privacy_actions()
        if action not in known:
            raise ConfigurationError(
                f"connection {conn_id} cannot {action} a person; it knows {', '.join(sorted(known))}; name only "
                "connections that can, with --conn (the DAG's param connections)"
            )
    return found


def people_of_query(sql: str, source_conn_id: str) -> list[PersonId]:
    """Return the people a query gives, from its columns `email` and `user_id`, of which one is enough.

    Raises SourceError when the query cannot be used, ConfigurationError for a column of another type than text or whole
    numbers: an identifier made of it would be another one than the platform knows, which it does not say.
    """
    from reverse_etl.delivery.privacy import PersonId
    from reverse_etl.kinds import IDENTIFIER_KINDS, check_kind
    from reverse_etl.staging.columns import arrow_schema
    from reverse_etl.staging.kinds import column_kinds
    from reverse_etl.staging.mysql_errors import source_errors
    from reverse_etl.staging.source import stream_query

    with source_errors("connecting to the database"):
        connection = MySqlHook(source_conn_id).get_conn()
    with stream_query(connection, sql, {}) as stream:
        names = [column.name for column in stream.columns]
        if not names or set(names) - set(COLUMNS) or len(set(names)) < len(names):
            raise SourceError(f"the query gives {len(names)} columns, expected email, user_id or both, and no other")
        for name, kind in column_kinds(arrow_schema(stream.columns)).items():
            check_kind("an identifier", name, kind, IDENTIFIER_KINDS)
        return [
            PersonId(**{name: _text(value) for name, value in zip(names, row, strict=True)})
            for chunk in stream
            for row in chunk
        ]


def forget_people(
    people: Sequence[PersonId], action: str, connections: Mapping[str, str], syncs: Syncs, *, job: str, asked_by: str
) -> Forgotten:
    """Ask every connection for the action, then remove everything about those who are gone everywhere.

    `job` names the work: what it has confirmed is not sent again. Raises ConfigurationError before anything is sent,
    LedgerUnavailable and StagingError.
    """
    from reverse_etl.delivery.privacy import REMOVING, Action

    wanted = Action(action)
    if wanted in REMOVING and syncs.unread:
        raise ConfigurationError(
            f"{', '.join(syncs.unread)} could not be imported, so rows of its syncs would be missed; mend it first"
        )
    with open_ledger() as ledger:
        results = asyncio.run(_ask_all(ledger, people, wanted, connections, job, asked_by))
    purged = None
    gone = set.intersection(*(result.gone for result in results.values()))
    if wanted in REMOVING and gone:
        chosen = [people[place] for place in sorted(gone)]
        purged = purge_person(
            syncs,
            emails={person.email for person in chosen if person.email},
            user_ids={person.user_id for person in chosen if person.user_id},
        )
    return Forgotten(results, purged)


async def _ask_all(
    ledger: Ledger, people: Iterable[PersonId], action: Any, connections: Mapping[str, str], job: str, asked_by: str
) -> dict[str, PrivacyResult]:
    from contextlib import AsyncExitStack

    from reverse_etl.delivery.privacy import PrivacyRun
    from reverse_etl.ledger.pacing import shared_paces
    from reverse_etl.ledger.privacy import PrivacyJob

    hash_person = _person_hasher()
    async with AsyncExitStack() as stack:
        runs = {}
        for conn_id, hook_class in connections.items():
            hook = _hook(hook_class, conn_id)
            destination = await stack.enter_async_context(hook.privacy(shared_paces(ledger.budgets)))
            journal = ledger.privacy_job(PrivacyJob(job, action.value, conn_id, destination.account, asked_by))
            runs[conn_id] = PrivacyRun(action, destination, journal, hash_person)
        return {conn_id: await run.run(people) for conn_id, run in runs.items()}


def forget_params() -> dict[str, Param]:
    """Return the params `ForgetOperator` reads. None of them holds a person: Airflow would keep it."""
    return {
        "query": Param(
            "forget_requests.sql",
            type="string",
            pattern=r"^\w[\w.-]*\.sql$",
            title="Query",
            description="A SQL file in the operator's folder; its columns are email, user_id or both.",
        ),
        "action": Param("forget", type="string", enum=list(ACTIONS), title="Action"),
        "connections": Param(
            None, type=["null", "array"], title="Connections", description="Empty: those of all syncs."
        ),
        "dry_run": Param(False, type="boolean", title="Dry run", description="Count the people and send nothing."),
    }


class ForgetOperator(BaseOperator):
    """Carries the action out for the people of a query in the folder `queries`; returns counts.

    A retry goes on with the same job. When the daily limit is used up, the retry waits for the next UTC day.
    """

    def __init__(self, *, queries: Path, source_conn_id: str = "mysql_default", **kwargs: Any) -> None:
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        super().__init__(**kwargs)
        self.queries = queries
        self.source_conn_id = source_conn_id

    def execute(self, context: Any) -> dict[str, Any]:
        """Forget; raises what stopped a platform, and RunFailed when somebody was refused."""
        refuse_unknown_params(context)
        params = context["params"]
        people = people_of_query(_read(self.queries / params["query"]), self.source_conn_id)
        syncs = find_syncs(dags_folder(context))
        connections = connections_of(syncs, params["action"], params["connections"] or ())
        self.log.info("%s people of the query, %s connections", len(people), len(connections))
        if params["dry_run"]:
            return {conn_id: {"planned": len(people)} for conn_id in connections}
        dag_run = context["dag_run"]
        done = forget_people(
            people,
            params["action"],
            connections,
            syncs,
            job=f"{dag_run.dag_id[:90]}/{dag_run.run_id[:140]}/{dag_run.clear_number}",
            asked_by=getattr(dag_run, "triggering_user_name", None) or "airflow",
        )
        self.log.info("%s", done.counts())
        for conn_id, result in done.results.items():
            if result.stopped not in (None, done.stopped):
                self.log.warning("%s: %s", conn_id, result.stopped)
        if done.stopped is not None:
            raise done.stopped
        if not done.is_done:
            raise RunFailed(
                f"not everybody was dealt with: {done.counts()}; the ledger's privacy_actions has the codes"
            )
        return done.counts()


def _person_hasher() -> Any:
    from reverse_etl.staging.people import same_email

    hasher = hash_key()
    return lambda person: hasher((same_email(person.email) if person.email else person.user_id,))


def _hook_class(conn_id: str) -> str:
    types: Any = get_provider_info()["connection-types"]
    known = {kind["connection-type"]: kind["hook-class-name"] for kind in types}
    try:
        kind = BaseHook.get_connection(conn_id).conn_type
    except AirflowNotFoundException:
        raise ConfigurationError(f"there is no connection {conn_id!r}; add it to Airflow, or name another") from None
    if kind not in known:
        raise ConfigurationError(f"connection {conn_id} is of the type {kind}, expected {', '.join(sorted(known))}")
    return str(known[kind])


def _hook(hook_class: str, conn_id: str) -> Any:
    module, _, name = hook_class.rpartition(".")
    hook = getattr(importlib.import_module(module), name)(conn_id)
    if not hasattr(hook, "privacy"):
        raise ConfigurationError(f"connection {conn_id}: {name} knows no privacy actions; leave the connection out")
    return hook


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the query file {path.name} cannot be read ({error.strerror})") from None


def _text(value: object) -> str:
    return "" if value is None else str(value)
