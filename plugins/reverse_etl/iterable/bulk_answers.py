"""Reading the answers of the bulk endpoints: a 200 may refuse some rows, all rows, or more than it names.

Source: OpenAPI of `users/bulkUpdate` and `events/trackBulk`, and recorded answers. Every list is optional, lists hold
identifiers and never reasons, e-mails come back in lower case, and a row with two identifiers may be named by either.
The lists of conflicts hold the existing identifier in the way, which may be that of another row, or of none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reverse_etl.delivery.answers import envelope_of, error_of
from reverse_etl.delivery.destination import Call, Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.errors import AnswerUnreadable, CallRejected, DestinationError, UserNotFound, UserSuppressed
from reverse_etl.iterable.answers import Answer, refusal

# What each list of `failedUpdates` means for the rows it names; those of conflicts name nobody for certain.
LISTS: dict[str, tuple[type[DestinationError], str]] = {
    "forgotten": (UserSuppressed, "ForgottenUserError"),
    "invalid": (CallRejected, "invalid_identifier"),
    "invalidData": (CallRejected, "invalid_data"),
    "notFound": (UserNotFound, "user_not_found"),
}
CONFLICTS = ("conflictEmails", "conflictUserIds")
ROW_OF_A_PATH = re.compile(r"^obj\.(?:users|events)\[(\d+)\]")


class BadRows(CallRejected):
    """The whole request was refused because of the rows at the places in `rows`; nothing was applied."""

    rows: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class BulkAnswer:
    """A 2xx answer: how many rows it refused, which it named, by list, and what it dropped.

    With `has_conflicts` some rows were refused without being named.
    """

    answer: Answer
    failed: int
    counted: int
    emails: Mapping[str, str]
    user_ids: Mapping[str, str]
    disallowed_events: frozenset[str]
    dropped_fields: frozenset[str]
    has_conflicts: bool

    def verdicts(self, calls: Sequence[Call], tries: int = 1) -> list[Verdict | None]:
        """Return the verdict on each call; None where the answer leaves open whether it was applied.

        `tries` are the requests that were spent.
        """
        receipt = Receipt(self.answer.status, self.answer.request_id, tries)
        if not self.failed and not self._names_any and self.counted == len(calls):
            return [receipt] * len(calls)
        lists = [self._list_of(call) for call in calls]
        by_name = [call.name in self.disallowed_events for call in calls]
        listed = sum(found is not None for found in lists)
        if listed > self.failed:
            return [None] * len(calls)
        disallowed = sum(found is None and is_disallowed for found, is_disallowed in zip(lists, by_name, strict=True))
        # It is not documented whether events of a disallowed name count as failed.
        is_explained = self.failed in (listed, listed + disallowed) and not self.has_conflicts
        others = receipt if is_explained and self.counted == len(calls) else None
        return [
            self._refusal(found, is_disallowed, tries) or others
            for found, is_disallowed in zip(lists, by_name, strict=True)
        ]

    @property
    def _names_any(self) -> bool:
        return bool(self.emails or self.user_ids or self.disallowed_events or self.has_conflicts)

    def _list_of(self, call: Call) -> str | None:
        by_email = self.emails.get(call.identity.get("email", "").casefold())
        return by_email or self.user_ids.get(call.identity.get("userId", ""))

    def _refusal(self, found: str | None, is_disallowed: bool, tries: int) -> DestinationError | None:
        if is_disallowed:
            error = error_of(CallRejected, "the project does not allow this event", self.answer, "event_disallowed")
        elif found is not None:
            kind, code = LISTS[found]
            error = error_of(kind, f"the answer names the row under {found}", self.answer, code)
        else:
            return None
        error.tries = tries
        return error


def read_bulk_answer(answer: Answer, *, clock: Callable[[], float]) -> BulkAnswer:
    """Return what a 2xx says of the rows; raise the DestinationError that fits any other answer."""
    if not answer.is_success:
        raise _whole_refusal(answer, clock)
    body = envelope_of(answer)
    counts = [body.get(name) for name in ("successCount", "failCount")] if body else []
    succeeded, failed = (count if isinstance(count, int) and count >= 0 else None for count in counts or (None, None))
    if body is None or succeeded is None or failed is None:
        raise error_of(AnswerUnreadable, "the answer does not say how many rows were applied", answer, "unreadable")
    return BulkAnswer(
        answer,
        failed,
        succeeded + failed,
        _named(body, "Emails", str.casefold),
        _named(body, "UserIds", str),
        frozenset(_texts(body.get("disallowedEventNames"))),
        frozenset(_texts(body.get("filteredOutFields"))),
        any(_texts(_lists(body).get(name)) for name in CONFLICTS),
    )


def _named(body: Mapping[str, object], suffix: str, fold: Callable[[str], str]) -> dict[str, str]:
    """Return the list each identifier stands in; `forgotten` wins over the others because it is final."""
    lists = _lists(body)
    named = {fold(value): "invalid" for value in _texts(body.get(f"invalid{suffix}"))}
    for name in reversed(LISTS):
        named |= {fold(value): name for value in _texts(lists.get(f"{name}{suffix}"))}
    return named


def _lists(body: Mapping[str, object]) -> Mapping[str, object]:
    lists = body.get("failedUpdates")
    return lists if isinstance(lists, Mapping) else {}


def _texts(values: object) -> list[str]:
    """Return the texts of a list; an empty one names nobody, and must not match the rows without that identifier."""
    return [value for value in values if isinstance(value, str) and value] if isinstance(values, list) else []


def _whole_refusal(answer: Answer, clock: Callable[[], float]) -> DestinationError:
    error = refusal(answer, clock)
    if error.code != "BadJsonBody":
        return error
    envelope = envelope_of(answer)
    params = envelope.get("params") if envelope else None
    paths = params if isinstance(params, Mapping) else {}
    bad = error_of(BadRows, "rows of the request are not of the form the platform expects", answer, error.code)
    if isinstance(bad, BadRows):
        bad.rows = frozenset(int(found[1]) for path in paths if (found := ROW_OF_A_PATH.match(str(path))))
    return bad
