"""The rows of a batch on their way in: rendered, checked, and compared with what is known of their calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from reverse_etl.delivery.destination import Call, RenderedRow, Row
from reverse_etl.delivery.journal import WHOLE_ROW, Journal
from reverse_etl.delivery.outcomes import UNCHANGED, CallResult, Outcome
from reverse_etl.errors import InvalidRow
from reverse_etl.redaction import KeyHasher, key_of

ROWS_LOOKED_UP_AT_ONCE = 1_000
"""One question to the ledger for so many rows; their rendered calls are held meanwhile."""

NO_CONSENT = CallResult(WHOLE_ROW, Outcome.SUPPRESSED, "no_consent")
FORGOTTEN_HERE = CallResult(WHOLE_ROW, Outcome.SUPPRESSED, "forgotten_here")


IsBlocked = Callable[[RenderedRow], bool]
"""Tells whether a row is about somebody whom the account was asked to take no data of."""


class ReadRow(NamedTuple):
    """A row with its hashed key, its place in the batch, from 0, and its columns in `values`.

    It `became` calls or, where it must not be sent, the result of the whole row; `field` is that of the mapping which
    did not fit, if one did not.
    """

    key: str
    place: int
    values: Row
    became: RenderedRow | CallResult
    field: str = ""


class Reader:
    """Gives out the rows of `source`, having looked up what the journal compares with.

    Rows whose hashed key is in `withheld` are not rendered; those for whom `is_blocked` holds are not sent.
    """

    def __init__(
        self,
        source: Iterator[Row],
        render: Callable[[Row], RenderedRow],
        *,
        key: tuple[str, ...],
        hash_key: KeyHasher,
        journal: Journal,
        withheld: Collection[str] = frozenset(),
        is_blocked: IsBlocked | None = None,
    ) -> None:
        self._source = source
        self._render = render
        self._key = key
        self._hash_key = hash_key
        self._journal = journal
        self._compares = journal.compares
        self._asks = journal.has_settled
        self._withheld = withheld
        self._is_blocked = is_blocked
        self._read = 0
        self._ahead: deque[ReadRow] = deque()
        self._versions = _Versions()

    def take(self) -> ReadRow | None:
        """Return the next row; None when `look_ahead` must come first, or at the end."""
        if self._ahead:
            return self._ahead.popleft()
        row = None if self._compares else next(self._source, None)
        return None if row is None else self._rendered(row)

    async def look_ahead(self) -> bool:
        """Look up what comes next; return whether anything does. Raise what the journal raises."""
        if self._compares:
            self._ahead.extend(map(self._rendered, islice(self._source, ROWS_LOOKED_UP_AT_ONCE)))
            if self._ahead:
                await self._journal.look_up(
                    list({row.key for row in self._ahead if isinstance(row.became, RenderedRow)})
                )
        return bool(self._ahead)

    def rest(self) -> Iterator[ReadRow]:
        """Yield the rows that are left, without looking anything up."""
        while self._ahead:
            yield self._ahead.popleft()
        yield from map(self._rendered, self._source)

    def known(self, key: str, rendered: RenderedRow) -> Sequence[CallResult | None]:
        """Return the result of each call of a row that need not be sent, None for the others; ask once, in order.

        What an earlier try delivered goes again behind a call that must be sent, as if it had not been.
        """
        if not self._asks:
            return ()
        known: list[CallResult | None] = []
        for call in rendered.calls:
            mark = self._hash_key.fingerprint(call.body)
            result = self._journal.settled(key, call.kind, mark)
            is_unchanged = result is not None and result.outcome is UNCHANGED
            if self._compares and not self._versions.is_last(rendered.identifiers, call, mark) and is_unchanged:
                result = None
            known.append(result if is_unchanged or None not in known else None)
        return known

    def _rendered(self, row: Row) -> ReadRow:
        key = key_of(row, self._key)
        hashed = self._hash_key(key)
        place = self._read
        self._read += 1
        try:
            if None in key:
                raise InvalidRow("key_missing", "a key column is NULL")
            if hashed in self._withheld:
                return ReadRow(hashed, place, row, NO_CONSENT)
            rendered = self._render(row)
            if self._is_blocked is not None and self._is_blocked(rendered):
                return ReadRow(hashed, place, row, FORGOTTEN_HERE)
            return ReadRow(hashed, place, row, rendered)
        except InvalidRow as problem:
            return ReadRow(hashed, place, row, CallResult(WHOLE_ROW, Outcome.INVALID, problem.code), problem.field)


class _Versions:
    """Which version of a call came last for a person, of all rows of the batch so far.

    A person may have several rows, the last of which is to win. A row that is unchanged by itself must go out once
    more after another version in an earlier row; only an event is independent of others. Hashes stand for identifiers
    and versions, to take little memory: two that are equal by chance cost one needless call, or need two persons of
    one batch whose hashes agree in 64 bits.
    """

    def __init__(self) -> None:
        self._last: dict[int, int] = {}

    def is_last(self, identifiers: Sequence[str], call: Call, fingerprint: bytes) -> bool:
        """Note a version; return whether no other one came last for the person."""
        if call.name:
            return True
        version, is_last = hash(fingerprint), True
        for identifier in identifiers:
            person = hash((identifier, call.kind))
            is_last = is_last and self._last.get(person, version) == version
            self._last[person] = version
        return is_last
