"""Calls refused for good, kept until they are delivered or somebody discards them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, or_, select

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.ledger.chunks import chunks
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.records import QuarantinedCall
from reverse_etl.ledger.schema import QUARANTINE, RUNS
from reverse_etl.ledger.times import microseconds_of, moment

PAGE = 1000


class Quarantine:
    """What is in quarantine. `since` keeps to calls seen there at that aware moment or later."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def calls(
        self, sync: str, *, code: str | None = None, since: datetime | None = None, page: int = PAGE
    ) -> Iterator[QuarantinedCall]:
        """Yield the calls of a sync in key order, `page` at a time; what changes meanwhile may or may not be seen."""
        query = _calls(_matching(sync, code, since)).limit(page)
        rows = self._page(query)
        while rows:
            yield from map(_quarantined, rows)
            rows = self._page(query.where(_after(rows[-1]))) if len(rows) == page else ()

    def show(self, sync: str, key: str) -> list[QuarantinedCall]:
        """Return all calls of the row with that hashed key."""
        rows = self._page(_calls([*_matching(sync, None, None), QUARANTINE.c.row_key == key]))
        return list(map(_quarantined, rows))

    def by_day(
        self, sync: str, *, code: str | None = None, since: datetime | None = None
    ) -> Mapping[tuple[date | None, int | None], set[str]]:
        """Return hashed keys by day and window of the run that last refused a call of theirs.

        A key whose calls were refused by different runs is there for each. Both are None for runs the ledger forgot.
        """
        query = (
            select(RUNS.c.run_day, RUNS.c.window_days, QUARANTINE.c.row_key)
            .select_from(_WITH_RUN)
            .where(*_matching(sync, code, since))
            .distinct()
        )
        found: defaultdict[tuple[date | None, int | None], set[str]] = defaultdict(set)
        for day, window_days, key in self._page(query):
            found[day, window_days].add(key)
        return dict(found)

    def counts(self, sync: str | None = None, *, since: datetime | None = None) -> dict[tuple[str, Outcome, str], int]:
        """Return how many calls there are by sync, outcome and reason code, the most frequent first."""
        number = func.count()
        what = (QUARANTINE.c.sync, QUARANTINE.c.outcome, QUARANTINE.c.code)
        query = (
            select(*what, number).where(*_matching(sync, None, since)).group_by(*what).order_by(number.desc(), *what)
        )
        rows = self._database.fetch("count the quarantine", query)
        return {(name, Outcome(outcome), code): count for name, outcome, code, count in rows}

    def discard(
        self,
        sync: str,
        *,
        keys: Sequence[str] | None = None,
        code: str | None = None,
        since: datetime | None = None,
    ) -> int:
        """Forget calls of a sync, those of the hashed `keys` or all, without sending them; return how many."""
        where = _matching(sync, code, since)
        if keys is None:
            return self._delete(where)
        return sum(self._delete([*where, QUARANTINE.c.row_key.in_(chunk)]) for chunk in chunks(keys))

    def _page(self, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
        return self._database.fetch("list the quarantine", query)

    def _delete(self, where: Sequence[ColumnElement[bool]]) -> int:
        statement = delete(QUARANTINE).where(*where)
        return self._database.write(
            "discard from the quarantine", lambda connection: connection.execute(statement).rowcount
        )


_WITH_RUN = QUARANTINE.outerjoin(RUNS, RUNS.c.id == QUARANTINE.c.attempt_id)


def _calls(conditions: Sequence[ColumnElement[bool]]) -> Select[*tuple[Any, ...]]:
    columns = [column for column in QUARANTINE.columns if column.name != "attempt_id"]
    names = (func.coalesce(RUNS.c.dag_id, ""), func.coalesce(RUNS.c.run_id, ""))
    return (
        select(*columns, *names, RUNS.c.run_day, RUNS.c.window_days)
        .select_from(_WITH_RUN)
        .where(*conditions)
        .order_by(QUARANTINE.c.row_key, QUARANTINE.c.call_kind)
    )


def _matching(sync: str | None, code: str | None, since: datetime | None) -> list[ColumnElement[bool]]:
    conditions = []
    if sync is not None:
        conditions.append(QUARANTINE.c.sync == sync)
    if code is not None:
        conditions.append(QUARANTINE.c.code == code)
    if since is not None:
        conditions.append(QUARANTINE.c.last_seen >= microseconds_of(since))
    return conditions


def _after(last: Row[*tuple[Any, ...]]) -> ColumnElement[bool]:
    key, call = last[1], last[2]
    same_key = and_(QUARANTINE.c.row_key == key, QUARANTINE.c.call_kind > call)
    return or_(QUARANTINE.c.row_key > key, same_key)


def _quarantined(row: Row[*tuple[Any, ...]]) -> QuarantinedCall:
    sync, key, call, outcome, code, status, request_id, first_seen, last_seen, tries, *run = row
    dag_id, run_id, day, window_days = run
    return QuarantinedCall(
        sync=sync,
        key=key,
        call=call,
        outcome=Outcome(outcome),
        code=code,
        status=status,
        request_id=request_id,
        first_seen=moment(first_seen),
        last_seen=moment(last_seen),
        tries=tries,
        dag_id=dag_id,
        run_id=run_id,
        day=day,
        window_days=window_days,
    )
