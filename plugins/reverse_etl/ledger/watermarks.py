"""How far incremental syncs have come, and what each of their runs read.

Only a run that read on from the watermark, or from before it, may move it, and only forward: so a run that is slower
than another, or cleared long after, never takes it back, and none takes it past rows the run did not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, Table, and_, select, update

from reverse_etl.errors import ConfigurationError
from reverse_etl.incremental import Incremental, Position
from reverse_etl.ledger.database import Database
from reverse_etl.ledger.records import LONGEST_NAME, LONGEST_RUN_NAME, Clock, check_name
from reverse_etl.ledger.schema import WATERMARK_READS, WATERMARKS
from reverse_etl.ledger.times import MICROSECONDS, microseconds_of, moment
from reverse_etl.ledger.upserts import insert_new


class Reader(NamedTuple):
    """A run of an incremental sync, whatever its attempt."""

    dag_id: str
    run_id: str
    sync: str


@dataclass(frozen=True, slots=True)
class Watermark:
    """Up to which row a sync has delivered; None before its first run. `moved_by` is a run, or who set it."""

    sync: str
    column: str
    key: str
    position: Position | None
    moved: datetime | None
    moved_by: str | None


@dataclass(frozen=True, slots=True)
class Read:
    """What a run read: from the watermark it found when it first began, to its last row, where it came to one."""

    start: Position | None
    end: Position | None


class Watermarks:
    """The watermarks of all syncs. Methods raise LedgerUnavailable when the ledger does not answer."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, sync: str) -> Watermark | None:
        """Return the watermark of a sync, None when no run of it has begun."""
        rows = self._database.read("be asked for a watermark", lambda connection: _row(connection, sync))
        return None if rows is None else _watermark(rows)

    def position(self, sync: str, incremental: Incremental) -> Position | None:
        """Return where a sync would read on; raises ConfigurationError when the watermark is of other columns."""
        found = self.get(sync)
        if found is None:
            return None
        _check_columns(found, incremental)
        return found.position

    def begin(self, reader: Reader, incremental: Incremental) -> Read:
        """Return what a run is to read: the first time, on from the watermark; later, what it read then.

        Raises ConfigurationError when the watermark is of other columns.
        """
        check_name("the run's DAG id", reader.dag_id, LONGEST_RUN_NAME)
        check_name("the run's id", reader.run_id, LONGEST_RUN_NAME)
        check_name("the sync's name", reader.sync, LONGEST_NAME)

        def work(connection: Connection) -> Read:
            columns = {"time_column": incremental.column, "key_column": incremental.key}
            insert_new(connection, WATERMARKS, [{"sync": reader.sync, **columns}])
            found = _watermark(_existing(connection, reader.sync))
            _check_columns(found, incremental)
            start = _stored("from", found.position)
            insert_new(connection, WATERMARK_READS, [{**reader._asdict(), "begun": self._now(), **start}])
            return _read(connection, reader)

        return self._database.write("begin to read on from a watermark", work)

    def end(self, reader: Reader, last: Position | None) -> None:
        """Record the last row a run read; None: there was none."""

        def work(connection: Connection) -> None:
            end = last or _read(connection, reader).start
            connection.execute(update(WATERMARK_READS).where(_of(reader)).values(_stored("to", end)))

        self._database.write("record what was read", work)

    def move(self, reader: Reader, position: Position) -> bool:
        """Move the watermark to a row up to which the run has delivered everything; return whether it moved.

        It stays where it is further on already, or was set back to before where the run began to read.
        """

        def work(connection: Connection) -> bool:
            present = _watermark(_existing(connection, reader.sync, for_update=True)).position
            start = _read(connection, reader).start
            began_behind = start is not None and (present is None or present < start)
            if began_behind or (present is not None and position <= present):
                return False
            self._put(connection, reader.sync, position, reader.run_id)
            return True

        return self._database.write("move a watermark", work)

    def set(self, sync: str, incremental: Incremental, position: Position | None, by: str) -> None:
        """Put the watermark where somebody wants it; None: the next run begins anew."""

        def work(connection: Connection) -> None:
            columns = {"time_column": incremental.column, "key_column": incremental.key}
            insert_new(connection, WATERMARKS, [{"sync": sync, **columns}])
            self._put(connection, sync, position, by, **columns)

        self._database.write("set a watermark", work)

    def _put(self, connection: Connection, sync: str, position: Position | None, by: str, **columns: str) -> None:
        values: dict[str, Any] = {**_stored("at", position), "moved": self._now(), "moved_by": by, **columns}
        connection.execute(update(WATERMARKS).where(WATERMARKS.c.sync == sync).values(values))

    def _now(self) -> int:
        return int(self._clock() * MICROSECONDS)


def _row(connection: Connection, sync: str, *, for_update: bool = False) -> RowMapping | None:
    query = select(WATERMARKS).where(WATERMARKS.c.sync == sync)
    return connection.execute(query.with_for_update() if for_update else query).mappings().one_or_none()


def _existing(connection: Connection, sync: str, *, for_update: bool = False) -> RowMapping:
    row = _row(connection, sync, for_update=for_update)
    if row is None:
        raise _forgotten(WATERMARKS)
    return row


def _read(connection: Connection, reader: Reader) -> Read:
    row = connection.execute(select(WATERMARK_READS).where(_of(reader))).mappings().one_or_none()
    if row is None:
        raise _forgotten(WATERMARK_READS)
    return Read(_position(row, "from"), _position(row, "to"))


def _forgotten(table: Table) -> ConfigurationError:
    return ConfigurationError(
        f"the ledger knows nothing of what this run read ({table.name}); clear the extract task to read again"
    )


def _of(reader: Reader) -> Any:  # noqa: ANN401 - SQLAlchemy's own type of and_
    return and_(*(WATERMARK_READS.c[name] == value for name, value in reader._asdict().items()))


def _watermark(row: RowMapping) -> Watermark:
    moved = row["moved"]
    return Watermark(
        row["sync"],
        row["time_column"],
        row["key_column"],
        _position(row, "at"),
        None if moved is None else moment(moved),
        row["moved_by"],
    )


def _position(row: Mapping[Any, Any], name: str) -> Position | None:
    time, key = row[f"{name}_time"], row[f"{name}_key"]
    return None if time is None else Position(moment(time), int(key))


def _stored(name: str, position: Position | None) -> dict[str, object]:
    if position is None:
        return {f"{name}_time": None, f"{name}_key": None}
    return {f"{name}_time": microseconds_of(position.time), f"{name}_key": str(position.key)}


def _check_columns(found: Watermark, incremental: Incremental) -> None:
    if (found.column, found.key) != incremental.columns():
        raise ConfigurationError(
            f"the watermark of {found.sync} is of the columns {found.column}, {found.key}, but the sync now reads by "
            f"{', '.join(incremental.columns())}; put it right with: reverse-etl watermark set|reset {found.sync}"
        )
