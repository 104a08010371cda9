"""What became of the rows of a bulk request, and the answer that tells it.

Keys from the UserBulkUpdateListResponse and BulkTrackResponse of the API reference (https://api.iterable.com/api-docs),
and from recorded answers where those have more or fewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from reverse_etl.sandbox.settings import BulkLists


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """Which lists an endpoint's answer has: `reasons` are the stems of those in failedUpdates.

    `other` is the reason of a row refused for what has no list of its own, `empty` are lists that stay empty, `old` the
    lists of answers recorded before 2023.
    """

    reasons: tuple[str, ...]
    other: str
    empty: tuple[str, ...]
    names: bool
    old: tuple[str, ...]


USER_ANSWER: Final = AnswerForm(
    reasons=("invalid", "invalidData", "notFound", "forgotten", "conflict"),
    other="invalidData",
    empty=("noOpEmails", "noOpUserIds"),
    names=False,
    old=("invalidEmails",),
)
EVENT_ANSWER: Final = AnswerForm(
    reasons=("invalid", "notFound", "forgotten"),
    other="invalid",
    empty=(),
    names=True,
    old=("disallowedEventNames", "invalidEmails", "invalidUserIds"),
)


class BulkResult:
    """Counts and lists of one bulk request; a list has an identifier as often as rows failed for it."""

    def __init__(self, form: AnswerForm) -> None:
        self._form = form
        self._succeeded = 0
        self._failed = 0
        self._lists: dict[str, list[str]] = {
            f"{reason}{kind}": [] for reason in form.reasons for kind in ("Emails", "UserIds")
        }
        self._created: dict[str, None] = {}
        self._filtered_out: dict[str, None] = {}
        self._disallowed: dict[str, None] = {}

    def succeed(self) -> None:
        """Count a row that was applied."""
        self._succeeded += 1

    def fail(self, reason: str, email: str | None, user_id: str | None) -> None:
        """Count a row that was refused, listed by its e-mail, else its user id, else not at all."""
        self._failed += 1
        if reason not in self._form.reasons:
            reason = self._form.other
        if email is not None:
            self._lists[f"{reason}Emails"].append(email)
        elif user_id is not None:
            self._lists[f"{reason}UserIds"].append(user_id)

    def fail_unlisted(self) -> None:
        """Count a row that was refused without saying which."""
        self._failed += 1

    def fail_in(self, name: str, email: str | None, user_id: str | None) -> None:
        """Count a row that was refused, in the list of this name; a row without the list's identifier in its twin."""
        reason, by_user_id = name.removesuffix("Emails").removesuffix("UserIds"), name.endswith("UserIds")
        if f"{reason}Emails" not in self._lists:
            self.fail_unlisted()
        elif by_user_id and user_id is not None:
            self.fail(reason, None, user_id)
        else:
            self.fail(reason, email, user_id)

    def disallow(self, event_name: str, *, fails: bool) -> None:
        """Count an event that was not stored for its name, as a failure or not."""
        self._disallowed[event_name] = None
        if fails:
            self._failed += 1
        else:
            self._succeeded += 1

    def add_fields(self, created: Iterable[str], filtered_out: Iterable[str]) -> None:
        """Name fields that a row created, and those of it that were dropped."""
        self._created.update(dict.fromkeys(created))
        self._filtered_out.update(dict.fromkeys(filtered_out))

    def as_dict(self, lists: BulkLists) -> dict[str, object]:
        """Return the answer with every list, with those that are not empty, or with those of the old answers."""
        counts: dict[str, object] = {"successCount": self._succeeded, "failCount": self._failed}
        top: dict[str, list[str]] = {
            "createdFields": list(self._created),
            "filteredOutFields": list(self._filtered_out),
            **({"disallowedEventNames": list(self._disallowed)} if self._form.names else {}),
            "invalidEmails": self._lists["invalidEmails"],
            "invalidUserIds": self._lists["invalidUserIds"],
            **{name: [] for name in self._form.empty},
        }
        if lists == "old":
            return {**counts, **{name: top[name] for name in self._form.old}}
        if lists == "all":
            return {**counts, **top, "failedUpdates": self._lists}
        failed = _filled(self._lists)
        return {**counts, **_filled(top), **({"failedUpdates": failed} if failed else {})}


def _filled(lists: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: entries for name, entries in lists.items() if entries}
