"""What goes into the ledger and comes out of it, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import date, datetime
from typing import NamedTuple

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.errors import ConfigurationError

Clock = Callable[[], float]
"""Seconds since 1970-01-01 UTC, such as time.time."""

LONGEST_NAME = 190
"""Characters of a sync, a call or an endpoint."""

LONGEST_RUN_NAME = 250
"""Characters of a DAG id or run id; Airflow's own limit."""

LONGEST_CODE = 100
LONGEST_REQUEST_ID = 64
FINGERPRINT_BYTES = 16

WHOLE_ROW = ""
"""The call of a row that was refused before it became calls."""


@dataclass(frozen=True, slots=True)
class RunRef:
    """One attempt of one run of one sync.

    `attempt` is the DAG run's clear number, `day` the UTC day it handles, `window_days` how many days of source rows,
    the last of which is `day`, it looks at.
    """

    dag_id: str
    run_id: str
    sync: str
    attempt: int
    day: date
    window_days: int

    def __post_init__(self) -> None:
        check_name("RunRef.dag_id", self.dag_id, LONGEST_RUN_NAME)
        check_name("RunRef.run_id", self.run_id, LONGEST_RUN_NAME)
        check_name("RunRef.sync", self.sync)
        if self.attempt < 0:
            raise ConfigurationError(f"RunRef.attempt is {self.attempt}, expected 0 or more")
        if self.window_days < 1:
            raise ConfigurationError(f"RunRef.window_days is {self.window_days}, expected 1 or more")


class Marked(NamedTuple):
    """What became of one call of one row; a tuple, because a run makes millions of them.

    `key` is the hashed key, `call` the kind of call or WHOLE_ROW, `tries` the requests spent. `fingerprint` are the 16
    bytes that identify the rendered call; None where the sync does not detect changes. `place` is that of the row in
    its batch, from 0.
    """

    key: str
    call: str
    outcome: Outcome
    code: str
    status: int | None = None
    tries: int = 0
    request_id: str | None = None
    fingerprint: bytes | None = None
    place: int = 0


class RowState(NamedTuple):
    """What the destination holds of one call of one row: only calls delivered at least once have a state.

    `fingerprint` and `delivered_at` belong to the last delivery, `outcome` to the last try, in any attempt of any run
    whose batch was settled. Where that was `failed`, the call may have been applied without our knowing, and the
    fingerprint proves nothing. A batch that was never settled, because its task was killed and not tried again, is not
    in here: what it sent is unknown to the state.
    """

    fingerprint: bytes | None
    delivered_at: datetime
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class QuarantinedCall:
    """A call nobody will send again until somebody acts; `tries` counts the attempts of runs that ended here.

    `dag_id`, `run_id`, `day` and `window_days` are those of the last of these runs: empty and None when the ledger has
    forgotten it. The row is found again in the source with that day and window.
    """

    sync: str
    key: str
    call: str
    outcome: Outcome
    code: str
    status: int | None
    request_id: str | None
    first_seen: datetime
    last_seen: datetime
    tries: int
    dag_id: str
    run_id: str
    day: date | None
    window_days: int | None


@dataclass(frozen=True, slots=True)
class Lease:
    """Evenly spaced moments at which requests may be sent: `wait` seconds from now, then every `interval` seconds.

    `start` is the first moment in seconds since 1970 by the ledger's clock; `wait` needs no agreement of clocks.
    """

    start: float
    wait: float
    interval: float
    slots: int

    @property
    def given(self) -> float:
        """When it was given, in seconds since 1970 by the ledger's clock."""
        return self.start - self.wait


@dataclass(frozen=True, slots=True)
class Purged:
    """Rows removed from each table."""

    runs: int = 0
    outcomes: int = 0
    row_states: int = 0
    quarantine: int = 0

    def __add__(self, other: Purged) -> Purged:
        """Return the sum for each table."""
        mine, others = astuple(self), astuple(other)
        return Purged(*(here + there for here, there in zip(mine, others, strict=True)))


def fingerprint_of(stored: str | None) -> bytes | None:
    """Return a fingerprint from its hexadecimal text."""
    return None if stored is None else bytes.fromhex(stored)


def check_name(what: str, name: str, longest: int = LONGEST_NAME) -> None:
    """Raise ConfigurationError unless `name` is a text every database keeps as it is."""
    if not 0 < len(name) <= longest or name != plain(name, longest):
        raise ConfigurationError(
            f"{what} has {len(name)} characters, expected 1 to {longest}, printable, without blanks at either end"
        )


def plain(text: str, longest: int) -> str:
    """Return a text as every database can keep it: printable, without blanks at either end, not too long."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else "?" for character in text)
    return text.strip()[:longest].rstrip()
