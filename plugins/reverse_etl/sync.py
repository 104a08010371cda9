"""A sync: a named configuration of source query, key, mapping and destination. Bad ones are refused when built."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from reverse_etl.consent import Consent
from reverse_etl.errors import ConfigurationError
from reverse_etl.incremental import Incremental
from reverse_etl.mapping import as_tuple
from reverse_etl.mirror import REMOVED_AT, ROW_KEY, WINDOW, Mirror
from reverse_etl.staging.statement import read_statement

SEND = ("all", "changed")

REMOVAL = "__removal"
"""End of the name under which the ledger knows the rows of a sync that have left the source."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class DestinationConfig(Protocol):
    """What a sync needs to know of its destination: a frozen dataclass in the destination's own room."""

    hook_class: ClassVar[str]
    """Dotted path of the Airflow hook that sends for this destination."""

    @property
    def conn_id(self) -> str:
        """The Airflow connection."""

    def columns(self) -> tuple[str, ...]:
        """Return the source columns the mapping reads."""

    def identifiers(self) -> tuple[str, ...]:
        """Return those of the columns that identify a person."""

    def event_ids(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """Return the source columns that tell events apart, of rows with the columns `key`; none without an event."""

    def removal(self, action: object, key: tuple[str, ...], /) -> DestinationConfig:
        """Return the destination of rows with the columns `key`, `identifiers()` and REMOVED_AT that have left.

        `action` is what is to be done to their people; raises ConfigurationError where the destination cannot do it.
        """

    def check_kinds(self, kinds: Mapping[str, str]) -> None:
        """Raise ConfigurationError when a column has a type the mapping cannot use.

        `kinds` maps each column to integer, number, text, boolean, datetime, date, duration or binary.
        """


@dataclass(frozen=True, slots=True)
class Sync:
    """Rows of `query` become calls to `destination`.

    `name` is part of file names and of derived event ids: renaming a sync sends its events under new ids.
    `query` is the path of a `.sql` file with `%(window_start)s` and `%(window_end)s` as bound parameters.
    `key` are the columns that identify a row; `failure_share` is the share of read rows (0 to 1) that may end
    invalid, rejected or failed before the report fails the run. `send` is `all`, or `changed` to leave out calls that
    equal the ones last delivered; write it down in every sync, the reader of a DAG should not have to know a default.
    `incremental` makes each run read only what changed since the last; its query has `%(after_time)s`,
    `%(after_key)s` and `%(before_time)s` instead. `consent` says whom not to contact. `mirror` says what happens to
    rows that leave the source, all of which the query must give then.
    """

    name: str
    query: Path
    key: tuple[str, ...]
    destination: DestinationConfig
    source_conn_id: str = "mysql_default"
    failure_share: float = 0.05
    send: Literal["all", "changed"] = "all"
    incremental: Incremental | None = None
    consent: Consent | None = None
    mirror: Mirror | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"Sync.name is {self.name!r}, expected lower-case letters, digits and underscores (63 at most)"
            )
        if not isinstance(self.query, str | Path):
            raise ConfigurationError(f"Sync.query of {self.name} is {self.query!r}, expected the path of a .sql file")
        if not Path(self.query).is_file():
            raise ConfigurationError(f"Sync.query of {self.name}: there is no file {self.query}")
        object.__setattr__(self, "query", Path(self.query))
        object.__setattr__(self, "key", self._checked_key())
        if not isinstance(self.failure_share, int | float) or not 0 <= self.failure_share <= 1:
            raise ConfigurationError(f"Sync.failure_share of {self.name} is {self.failure_share!r}, expected 0 to 1")
        if self.send not in SEND:
            raise ConfigurationError(f"Sync.send of {self.name} is {self.send!r}, expected {' or '.join(SEND)}")
        if not isinstance(self.source_conn_id, str) or not self.source_conn_id:
            raise ConfigurationError(f"Sync.source_conn_id of {self.name} is empty, expected a connection id")
        if not hasattr(self.destination, "hook_class") or isinstance(self.destination, type):
            raise ConfigurationError(
                f"Sync.destination of {self.name} is a {type(self.destination).__name__}, "
                "expected a destination such as IterableDestination(...)"
            )
        self._check_parts()
        if self.mirror is not None:
            self._check_mirror()

    def _check_parts(self) -> None:
        if self.incremental is not None and not isinstance(self.incremental, Incremental):
            raise ConfigurationError(
                f"Sync.incremental of {self.name} is a {type(self.incremental).__name__}, expected Incremental(...)"
            )
        if self.consent is not None and not isinstance(self.consent, Consent):
            raise ConfigurationError(
                f"Sync.consent of {self.name} is a {type(self.consent).__name__}, expected Consent(...)"
            )

    def _check_mirror(self) -> None:
        if not isinstance(self.mirror, Mirror):
            raise ConfigurationError(
                f"Sync.mirror of {self.name} is a {type(self.mirror).__name__}, expected Mirror(...)"
            )
        if self.incremental is not None:
            raise ConfigurationError(
                f"Sync {self.name} has mirror and incremental; what is read in parts does not show what has left"
            )
        used = read_statement(self.sql(), dict.fromkeys(WINDOW)).placeholders
        if used:
            raise ConfigurationError(
                f"Sync {self.name} has mirror, but {self.query.name} uses {', '.join(sorted(used))}: "
                "rows that leave the window have not left the source; give all rows, or do without mirror"
            )
        if {REMOVED_AT, ROW_KEY} & {*self.key, *self.destination.identifiers()}:
            raise ConfigurationError(f"Sync {self.name} has mirror, for which {REMOVED_AT} and {ROW_KEY} are kept free")
        self.removal()

    def removal(self) -> Sync:
        """Return the sync of this one's rows that have left the source; raise ConfigurationError where there is none.

        It goes by a name of its own in the ledger.
        """
        if self.mirror is None:
            raise ConfigurationError(f"Sync {self.name} has no mirror, so it removes nothing; add mirror=Mirror(...)")
        return replace(
            self,
            name=f"{self.name}{REMOVAL}",
            destination=self.destination.removal(self.mirror.removal, self.key),
            send="all",
            consent=None,
            mirror=None,
        )

    def _checked_key(self) -> tuple[str, ...]:
        key = (self.key,) if isinstance(self.key, str) else as_tuple(f"Sync.key of {self.name}", self.key)
        if not key or not all(isinstance(column, str) and column for column in key):
            raise ConfigurationError(f"Sync.key of {self.name} is {self.key!r}, expected one or more column names")
        if len(set(key)) != len(key):
            raise ConfigurationError(f"Sync.key of {self.name} names a column twice: {self.key!r}")
        return tuple(map(str, key))

    def sql(self) -> str:
        """Return the text of the query; raise ConfigurationError when it is not UTF-8."""
        return file_text(self.query)

    def check_columns(self, kinds: Mapping[str, str]) -> None:
        """Raise ConfigurationError when the query's result lacks a column or has one of a type that does not fit."""
        own = self.key if self.incremental is None else (*self.key, *self.incremental.columns())
        consent = self.consent.columns() if self.consent else ()
        missing = sorted(_missing((*own, *self.destination.columns(), *consent), kinds))
        if missing:
            raise ConfigurationError(
                f"{self.query.name} gives no column {', '.join(missing)}, which sync {self.name} needs; "
                f"it gives {', '.join(kinds)}"
            )
        if self.incremental is not None:
            self.incremental.check_kinds(kinds)
        self.destination.check_kinds(kinds)
        if self.consent is not None:
            self.consent.check_kinds(kinds)

    def __str__(self) -> str:
        return self.name


def file_text(path: Path) -> str:
    """Return the text of a file; raise ConfigurationError when it is not UTF-8 or cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8; save it in that encoding") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}); check who may read it") from None


def _missing(wanted: Iterable[str], kinds: Mapping[str, str]) -> set[str]:
    return {column for column in wanted if column not in kinds}
