"""Words as small numbers: syncs, calls and reason codes, as the bulk tables hold them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from reverse_etl.ledger.database import Database
from reverse_etl.ledger.schema import LABELS
from reverse_etl.ledger.upserts import insert_new

NO_LABEL = -1


class Labels:
    """Numbers of words, each looked up once; a number never changes, so what is known stays true."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def numbers(self, names: Iterable[str]) -> dict[str, int]:
        """Return the number of each name, given out now where it has none."""
        wanted = set(names)
        unknown = sorted(wanted - self._numbers.keys())
        if unknown:
            self._learn(self._database.write("record new labels", lambda connection: _give_out(connection, unknown)))
        return {name: self._numbers[name] for name in wanted}

    def number(self, name: str) -> int:
        """Return the number of one name."""
        known = self._numbers.get(name)
        return self.numbers([name])[name] if known is None else known

    def find(self, name: str) -> int:
        """Return the number of one name without giving one out; NO_LABEL where it has none."""
        if name not in self._numbers:
            query = select(LABELS.c.name, LABELS.c.id).where(LABELS.c.name == name)
            self._learn({row.name: row.id for row in self._database.fetch("look up labels", query)})
        return self._numbers.get(name, NO_LABEL)

    def names(self, numbers: Iterable[int]) -> dict[int, str]:
        """Return the name of each number."""
        wanted = set(numbers)
        unknown = wanted - self._names.keys()
        if unknown:
            query = select(LABELS.c.name, LABELS.c.id).where(LABELS.c.id.in_(sorted(unknown)))
            rows = self._database.fetch("look up labels", query)
            self._learn({row.name: row.id for row in rows})
        return {number: self._names[number] for number in wanted}

    def _learn(self, found: dict[str, int]) -> None:
        self._numbers.update(found)
        self._names.update((number, name) for name, number in found.items())


def _give_out(connection: Connection, names: list[str]) -> dict[str, int]:
    query = select(LABELS.c.name, LABELS.c.id).where(LABELS.c.name.in_(names))
    found = {row.name: row.id for row in connection.execute(query)}
    missing = [{"name": name} for name in names if name not in found]
    if missing:
        insert_new(connection, LABELS, missing)
        found = {row.name: row.id for row in connection.execute(query)}
    return found
