"""Every error of the package is a type.

    ReverseEtlError
    |-- ConfigurationError           a sync, a connection or a parameter is wrong; nothing was sent
    |   |-- CheckFailed                  the check before the first row found errors
    |   `-- NoLedger                 there is no ledger yet, and what was asked for does not make one
    |-- SourceError                  the source query or its result cannot be used
    |   |-- SourceUnavailable        the database went away; another try may work          (retryable)
    |   `-- KeyRefused               a key is NULL or names several rows; nothing was sent
    |-- StagingError                 a batch or an export could not be written or read  (retryable)
    |-- LedgerUnavailable            the ledger's database did not answer or is locked or full    (retryable)
    |-- SyncBusy                     another run of the sync is under way; nothing was sent
    |-- NotApproved                  nobody was asked about the rows to be removed; nothing was removed
    |-- RowsFailed                   some rows of a batch failed; another try sends only these          (retryable)
    |-- InvalidRow                   one row we refuse before sending it (outcome `invalid`)
    |-- RunFailed                    the report: a batch failed, totals do not add up, too many rows failed
    `-- DestinationError             the engagement platform
        |-- CallRejected             it refused this one call (outcome `rejected`)
        |-- UserSuppressed           it refuses this person for good (outcome `suppressed`)
        |-- CallFailed               transient, tries used up (outcome `failed`)          (retryable)
        |   |-- UserNotFound             it does not know this person, perhaps not yet        (retryable)
        |   |-- Throttled            it asked us to slow down                             (retryable)
        |   |-- AnswerUnreadable     the answer does not say whether the call was applied (retryable)
        |   `-- ConnectionFailed     no answer: refused, reset, timed out                 (retryable)
        |-- DestinationUnavailable   so many failures in a row that the batch stops       (retryable)
        `-- AccountRefused           it refuses the account, not a row: the whole run stops
            |-- AuthenticationRefused    key or token wrong, disabled, without the privilege
            `-- WrongDestination         wrong host or region, or an unknown list

Messages never hold a payload, an identifier, a key or a token: status codes, request ids and counts only.
"""

from __future__ import annotations

from typing import ClassVar


class ReverseEtlError(Exception):
    """Base of all errors of the package; `retryable` says whether the same work may succeed later."""

    retryable: ClassVar[bool] = False


class ConfigurationError(ReverseEtlError, ValueError):
    """A sync, a connection or a parameter is wrong; the message names the field and what is allowed."""


class CheckFailed(ConfigurationError):
    """The check before the first row found what would make the run useless."""


class NoLedger(ConfigurationError):
    """There is no ledger yet; `place` is where it was looked for."""

    def __init__(self, place: str) -> None:
        super().__init__(
            f"there is no ledger at {place} yet: the first run makes it; if there have been runs, "
            "they used another one (setting ledger_path, connection reverse_etl_ledger, AIRFLOW_HOME)"
        )
        self.place = place

    def __reduce__(self) -> tuple[type[NoLedger], tuple[str]]:
        return (type(self), (self.place,))


class SourceError(ReverseEtlError):
    """The source query or its result cannot be used."""


class SourceUnavailable(SourceError):
    """The database refused the connection or went away; another try may work."""

    retryable = True


class KeyRefused(SourceError):
    """The key of some rows is NULL, or that of another row; nothing was sent."""


class StagingError(ReverseEtlError):
    """A batch or an export could not be written or read; another try may find the storage well again."""

    retryable = True


class LedgerUnavailable(ReverseEtlError):
    """The ledger's database did not answer, is locked or is full; delivery stops rather than runs unrecorded."""

    retryable = True


class SyncBusy(ReverseEtlError):
    """Another run of the sync is under way, and only one at a time may send."""


class NotApproved(ReverseEtlError):
    """Somebody is to be asked before rows are removed, and there is no answer, or one about other rows."""


class RowsFailed(ReverseEtlError):
    """Some rows of a batch failed for a passing reason; another try sends only what is missing."""

    retryable = True


class InvalidRow(ReverseEtlError):
    """One row that is refused before anything is sent.

    `code` is its reason code, `field` the field of the mapping that it is about, empty for none.
    """

    def __init__(self, code: str, detail: str, field: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.field = field

    def __reduce__(self) -> tuple[type[InvalidRow], tuple[str, str, str]]:
        return (type(self), (self.code, self.detail, self.field))


class RunFailed(ReverseEtlError):
    """The report's verdict on a run: a batch failed, totals do not add up, or too many rows were not delivered."""


class DestinationError(ReverseEtlError):
    """The engagement platform refused or did not answer.

    `status` is the HTTP status (None when there was no answer), `code` the platform's own reason code or ours,
    `request_id` what the platform calls the request in its logs, `retry_after` its hint in seconds, if any, and
    `tries` how many requests were spent on the call.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "unknown",
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.tries = 1

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.__dict__))

    def __str__(self) -> str:
        facts = [f"code {self.code}"]
        if self.status is not None:
            facts.insert(0, f"HTTP {self.status}")
        if self.request_id:
            facts.append(f"request id {self.request_id}")
        return f"{self.message} ({', '.join(facts)})"


def _rebuild(kind: type[DestinationError], message: str, state: dict[str, object]) -> DestinationError:
    error = kind(message)
    error.__dict__.update(state)
    return error


class CallRejected(DestinationError):
    """The platform refused this call; the same call will be refused again."""


class UserSuppressed(DestinationError):
    """The platform refuses this person for good, for instance after a request to be forgotten."""


class CallFailed(DestinationError):
    """A transient failure."""

    retryable = True


class UserNotFound(CallFailed):
    """The platform does not know this person: not yet, or not at all (then outcome `rejected`)."""


class Throttled(CallFailed):
    """The platform asked us to slow down (HTTP 429)."""


class AnswerUnreadable(CallFailed):
    """An answer came, but it does not say whether the call was applied (HTML, garbage, cut short)."""


class ConnectionFailed(CallFailed):
    """No answer: the connection was refused, reset or timed out."""


class DestinationUnavailable(DestinationError):
    """So many calls failed in a row that the batch was stopped."""

    retryable = True


class AccountRefused(DestinationError):
    """The platform refuses the account, not a row: the whole run stops and no row is to blame."""


class AuthenticationRefused(AccountRefused):
    """The key or token is wrong, disabled or lacks the privilege."""


class WrongDestination(AccountRefused):
    """The host or region is wrong, or the platform does not know the list or path."""
