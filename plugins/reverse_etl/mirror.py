"""Mirroring the source: what is done to people whose rows have left it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson

from reverse_etl.errors import ConfigurationError
from reverse_etl.mapping import Constant, FieldLike

REMOVED_AT = "_removed_at"
"""The column of a row to be removed that says when the run was due: the second removal of a person is another one."""

ROW_KEY = "_row_key"
"""The column of a member with the hashed key of its row."""

WINDOW = ("window_start", "window_end")


@dataclass(frozen=True, slots=True)
class Mirror:
    """Rows that have left the source have `removal` done to their person.

    `removal` is what the sync's destination can do: for Iterable `UserUpdate`, `RemoveFromList` or `DeleteUser`, for
    Customer.io `Identify`, `RemoveFromObject`, `SuppressPerson` or `DeletePerson`. `largest_share` is the share of rows
    (0 to 1) that may go without anybody being asked.
    """

    removal: Any
    largest_share: float = 0.1

    def __post_init__(self) -> None:
        if self.removal is None or isinstance(self.removal, type | str):
            raise ConfigurationError(
                f"Mirror.removal is {self.removal!r}, expected something such as "
                "UserUpdate(fields=(Constant('active', value=False),))"
            )
        share = self.largest_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ConfigurationError(f"Mirror.largest_share is {share!r}, expected 0 to 1")

    def in_words(self) -> str:
        """Return the removal as somebody is asked about it, such as `UserUpdate (active: false)`."""
        settings: list[str] = []
        for field in fields(self.removal):
            value = getattr(self.removal, field.name)
            if isinstance(value, tuple):
                settings += [f"{constant.name}: {_plain(constant.value)}" for constant in value]
            elif value != field.default:
                settings.append(f"{field.name}: {_plain(value)}")
        name = type(self.removal).__name__
        return f"{name} ({', '.join(settings)})" if settings else name

    def reasons(self, *, read: int, known: int, removed: int) -> list[str]:
        """Return why a person is to be asked before `removed` of `known` rows go; none means that nobody needs to be.

        `read` are the rows the source now has.
        """
        reasons = []
        if removed and not read:
            reasons.append("the source is empty")
        if removed > self.largest_share * known:
            reasons.append(f"{removed} of {known} rows are more than the share of {self.largest_share:.1%}")
        return reasons


def _plain(value: object) -> str:
    return orjson.dumps(value, default=str).decode()


def check_constants(where: str, fields: Sequence[FieldLike]) -> None:
    """Refuse a field that reads a column: of a row that has left the source only the person is known."""
    for field in fields:
        if not isinstance(field, Constant):
            raise ConfigurationError(
                f"{where} reads the column {field.column!r}, but of a row that has left the source only the person "
                "is known; expected Constant(...) only"
            )


def cannot_remove(destination: object, removal: object, allowed: str) -> ConfigurationError:
    """Return the error for a removal a destination does not know."""
    return ConfigurationError(
        f"{type(destination).__name__} cannot remove people by {type(removal).__name__}, expected {allowed}"
    )
