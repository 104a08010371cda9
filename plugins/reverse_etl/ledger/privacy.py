"""The audit record of privacy actions: asked before one is sent, written when its answer is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, func, select

from reverse_etl.delivery.outcomes import CallResult, Outcome
from reverse_etl.delivery.privacy import BLOCKING, Action
from reverse_etl.errors import ConfigurationError
from reverse_etl.ledger.budgets import ACCOUNT_LENGTH, Budgets
from reverse_etl.ledger.chunks import chunks
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.records import (
    LONGEST_CODE,
    LONGEST_NAME,
    LONGEST_REQUEST_ID,
    LONGEST_RUN_NAME,
    Clock,
    check_name,
    plain,
)
from reverse_etl.ledger.schema import PRIVACY_ACTIONS
from reverse_etl.ledger.times import MICROSECONDS, moment
from reverse_etl.ledger.upserts import Upsert

LONGEST_ACTION = 16
_CONFIRMED_STAYS = f"privacy_actions.outcome = '{Outcome.DELIVERED}'"


@dataclass(frozen=True, slots=True)
class PrivacyJob:
    """One action on many people at one account; `job` is the name under which it is continued after a failure.

    `connection` is Airflow's connection, `account` a hash of 32 characters, `asked_by` who wants it done.
    """

    job: str
    action: str
    connection: str
    account: str
    asked_by: str

    def __post_init__(self) -> None:
        check_name("the job's name", self.job, LONGEST_RUN_NAME)
        check_name("the action", self.action, LONGEST_ACTION)
        check_name("the connection", self.connection)
        check_name("who asks", self.asked_by, LONGEST_NAME)
        if len(self.account) != ACCOUNT_LENGTH:
            raise ConfigurationError(
                f"the account has {len(self.account)} characters, expected a hash of {ACCOUNT_LENGTH}"
            )


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What became of one action on one person, named by a keyed hash."""

    job: PrivacyJob
    person: str
    at: datetime
    result: CallResult


class PrivacyActions:
    """The audit record of one job."""

    def __init__(self, database: Database, budgets: Budgets, clock: Clock, job: PrivacyJob) -> None:
        self._database = database
        self._budgets = budgets
        self._clock = clock
        self._job = job
        names = ("connection", "asked_by", "at", "code", "status", "request_id")
        kept = {
            name: f"CASE WHEN {_CONFIRMED_STAYS} THEN privacy_actions.{name} ELSE excluded.{name} END"
            for name in (*names, "outcome")
        }
        self._upsert = Upsert(
            database.dialect, PRIVACY_ACTIONS, {"tries": "privacy_actions.tries + excluded.tries", **kept}
        )

    def confirmed(self, people: Sequence[str]) -> frozenset[str]:
        """Return those of the hashed `people` for whom this job's action is confirmed."""
        table, job = PRIVACY_ACTIONS.c, self._job
        query = select(table.person).where(
            table.job == job.job,
            table.account == job.account,
            table.action == job.action,
            table.outcome == Outcome.DELIVERED.value,
        )
        return frozenset(
            row.person
            for chunk in chunks(people)
            for row in self._database.fetch("be asked about privacy actions", query.where(table.person.in_(chunk)))
        )

    def mark(self, results: Sequence[tuple[str, CallResult]]) -> None:
        """Record results by hashed person, each person once; a confirmation stays one.

        Of one person at one account the later record has the later time, also after a clock that jumped.
        """
        if not results:
            return
        now = int(self._clock() * MICROSECONDS)
        ordered = sorted(results, key=lambda pair: pair[0])

        def work(connection: Connection) -> None:
            last = self._last(connection, [person for person, _ in ordered])
            rows = [self._row(person, result, max(now, last.get(person, 0) + 1)) for person, result in ordered]
            self._upsert(connection, rows)

        self._database.write("record privacy actions", work)

    def _last(self, connection: Connection, people: Sequence[str]) -> dict[str, int]:
        """Return when something was last recorded of each of the people at the account."""
        table = PRIVACY_ACTIONS.c
        query = select(table.person, func.max(table.at)).where(table.account == self._job.account)
        rows = (
            row
            for chunk in chunks(people)
            for row in connection.execute(query.where(table.person.in_(chunk)).group_by(table.person))
        )
        return {person: int(at) for person, at in rows}

    def _row(self, person: str, result: CallResult, at: int) -> tuple[object, ...]:
        job = self._job
        return (
            job.job,
            job.account,
            job.action,
            person,
            job.connection,
            job.asked_by,
            at,
            result.outcome.value,
            plain(result.code, LONGEST_CODE),
            result.status,
            None if result.request_id is None else plain(result.request_id, LONGEST_REQUEST_ID),
            result.tries,
        )

    def take_daily(self, endpoint: str, wanted: int, limit: int) -> int:
        """Take up to `wanted` requests of the account's `limit` of this UTC day; return how many were left."""
        return self._budgets.take_daily(self._job.account, endpoint, wanted, limit)


def blocked_people(database: Database, account: str) -> frozenset[str]:
    """Return the hashed people whom an account has confirmed to block, and not to unblock since."""
    table = PRIVACY_ACTIONS.c
    query = (
        select(table.person, table.action)
        .where(
            table.account == account,
            table.outcome == Outcome.DELIVERED.value,
            table.action.in_([action.value for action in (*sorted(BLOCKING), Action.UNSUPPRESS)]),
        )
        .order_by(table.at)
    )
    last = {row.person: row.action for row in database.fetch("be asked about privacy actions", query)}
    return frozenset(person for person, action in last.items() if action in BLOCKING)


def audit_records(database: Database, person: str) -> list[AuditRecord]:
    """Return everything recorded about a hashed person, the newest first."""
    query = (
        select(*PRIVACY_ACTIONS.columns)
        .where(PRIVACY_ACTIONS.c.person == person)
        .order_by(PRIVACY_ACTIONS.c.at.desc(), PRIVACY_ACTIONS.c.job)
    )
    return [_record(row) for row in database.fetch("be asked about privacy actions", query)]


def _record(row: Row[*tuple[object, ...]]) -> AuditRecord:
    job = PrivacyJob(row.job, row.action, row.connection, row.account, row.asked_by)
    result = CallResult(row.action, Outcome(row.outcome), row.code, row.status, row.tries, row.request_id)
    return AuditRecord(job, row.person, moment(row.at), result)
