"""Whom a sync must not contact: named by a column of its own query, by a query of people, or by both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reverse_etl.errors import ConfigurationError
from reverse_etl.kinds import IDENTIFIER_KINDS, check_kind
from reverse_etl.mapping import check_name

COLUMN_KINDS = ("integer", "boolean")
PEOPLE_COLUMNS = ("email", "user_id")


@dataclass(frozen=True, slots=True)
class Consent:
    """Rows of people who must not be contacted end `suppressed` with the code `no_consent`; nothing of them is sent.

    `column` of the sync's query says so by any number but 0, and by NULL: who was not asked has not agreed.
    `query` is the path of a `.sql` file that gives people not to contact, in columns `email`, `user_id` or both; it may
    use the parameters of the sync's query and runs on `source_conn_id`, the sync's unless given. A row is suppressed
    when its e-mail or its user id is among them. `email` and `user_id` name the columns of the sync's query to compare,
    those of its destination unless given. E-mails compare without regard to case, user ids as they are.
    """

    column: str | None = None
    query: Path | None = None
    email: str | None = None
    user_id: str | None = None
    source_conn_id: str | None = None

    def __post_init__(self) -> None:
        if self.column is None and self.query is None:
            raise ConfigurationError("Consent names nobody, expected column= or query= with a .sql file")
        for name in ("column", "email", "user_id", "source_conn_id"):
            if getattr(self, name) is not None:
                check_name(f"Consent.{name}", getattr(self, name))
        if self.query is None:
            self._refuse_what_only_a_query_has()
            return
        if not isinstance(self.query, str | Path) or not Path(self.query).is_file():
            raise ConfigurationError(f"Consent.query is {str(self.query)!r}, expected the path of a .sql file")
        object.__setattr__(self, "query", Path(self.query))

    def _refuse_what_only_a_query_has(self) -> None:
        given = [name for name in ("email", "user_id", "source_conn_id") if getattr(self, name) is not None]
        if given:
            raise ConfigurationError(f"Consent.{given[0]} is for query=, which is not given")

    def columns(self) -> tuple[str, ...]:
        """Return the columns of the sync's query that are named here."""
        return tuple(name for name in (self.column, self.email, self.user_id) if name)

    def check_kinds(self, kinds: Mapping[str, str]) -> None:
        """Raise ConfigurationError when a column has a type that cannot say what it must."""
        if self.column:
            check_kind("Consent.column", self.column, kinds[self.column], COLUMN_KINDS)
        for name, column in (("email", self.email), ("user_id", self.user_id)):
            if column:
                check_kind(f"Consent.{name}", column, kinds[column], IDENTIFIER_KINDS)

    def compared(self, people: Iterable[str], destination: object) -> dict[str, str]:
        """Return the column of the sync's query to compare with each column that `query` gives.

        Raises ConfigurationError for other columns, and for one that nothing can be compared with.
        """
        given = list(people)
        if not given or set(given) - set(PEOPLE_COLUMNS):
            raise ConfigurationError(
                f"{self._file} gives {len(given)} columns, expected email, user_id or both, and no other"
            )
        found = {name: str(getattr(self, name) or getattr(destination, name, None) or "") for name in given}
        for name, column in found.items():
            if not column:
                raise ConfigurationError(
                    f"{self._file} gives {name}, but the destination has no column for it; "
                    f"name the column of the sync's query to compare with in Consent({name}=...)"
                )
        return found

    @property
    def _file(self) -> str:
        return self.query.name if self.query else ""
