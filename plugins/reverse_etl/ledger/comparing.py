"""What is known of the calls last delivered: an equal one need not be sent again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import and_, case, exists, func, select

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.delivery.plan import Known
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.labels import Labels
from reverse_etl.ledger.records import WHOLE_ROW
from reverse_etl.ledger.schema import DELIVERED, NOT_CLOSED, OPEN_BATCHES, OUTCOME_NUMBERS, QUARANTINE, ROW_STATES

NOTHING_OPEN = -1


class Comparison:
    """The calls of a sync the platform holds as they were last delivered, looked up by key.

    A state is proof only where its last try was delivered, the call is not in quarantine, nothing of the row was
    suppressed since, and no other attempt has opened a batch since without closing it: what such a batch sent is not
    known. `attempt` is the one that compares, `first` the first of its run when somebody cleared it: what was delivered
    since then is to be sent again.
    """

    def __init__(
        self, database: Database, labels: Labels, sync: str, *, attempt: int | None = None, first: int | None = None
    ) -> None:
        self._database = database
        self._labels = labels
        self._sync = sync
        number = labels.find(sync)
        still_open = select(func.max(OPEN_BATCHES.c.attempt_id)).where(OPEN_BATCHES.c.sync == number, NOT_CLOSED)
        if attempt is not None:
            still_open = still_open.where(OPEN_BATCHES.c.attempt_id != attempt)
        [(last_open,)] = database.fetch("be asked about open batches", still_open)
        held_back = ROW_STATES.alias("held_back")
        proof = and_(
            ROW_STATES.c.outcome == DELIVERED,
            ROW_STATES.c.attempt_id > (NOTHING_OPEN if last_open is None else last_open),
            *([] if first is None else [ROW_STATES.c.epoch < first]),
            # Whom a platform was asked to block, it has deleted as well.
            ~exists().where(
                held_back.c.sync == ROW_STATES.c.sync,
                held_back.c.row_key == ROW_STATES.c.row_key,
                held_back.c.outcome == OUTCOME_NUMBERS[Outcome.SUPPRESSED],
                held_back.c.epoch >= ROW_STATES.c.attempt_id,
            ),
        )
        self._states = select(
            ROW_STATES.c.row_key, ROW_STATES.c.call_kind, ROW_STATES.c.fingerprint, case((proof, 1), else_=0)
        ).where(ROW_STATES.c.sync == number, ROW_STATES.c.delivered_at.is_not(None))
        self._in_quarantine = select(QUARANTINE.c.row_key, QUARANTINE.c.call_kind).where(QUARANTINE.c.sync == sync)
        self._has_quarantine = bool(database.fetch("look into quarantine", self._in_quarantine.limit(1)))

    def states(self, keys: Sequence[str]) -> Mapping[tuple[str, str], Known]:
        """Return what is known of each call delivered once, by hashed key and call; raises LedgerUnavailable."""
        rows = self._database.fetch("be asked about rows", self._states.where(ROW_STATES.c.row_key.in_(keys)))
        names = self._labels.names({row[1] for row in rows})
        found = {(key, names[call]): Known(mark, bool(proof and mark is not None)) for key, call, mark, proof in rows}
        refused = self._refused(keys) if found and self._has_quarantine else frozenset()
        for (key, call), known in found.items() if refused else ():
            if (key, call) in refused or (key, WHOLE_ROW) in refused:
                found[key, call] = known._replace(is_proof=False)
        return found

    def _refused(self, keys: Sequence[str]) -> frozenset[tuple[str, str]]:
        query = self._in_quarantine.where(QUARANTINE.c.row_key.in_(keys))
        return frozenset((key, call) for key, call in self._database.fetch("look into quarantine", query))
