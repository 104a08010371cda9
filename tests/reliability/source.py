"""A source table with good rows and planted bad ones, and what each row must become."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from reverse_etl.delivery.outcomes import Outcome
from reverse_etl.iterable.payloads import EVENT_TRACK, USER_UPDATE
from tests.database import run

DAY = "2026-01-13"
EVENT = "page_view"
BLOCK = 10
"""Rows of one person are in one block; batches are whole blocks, so a person's rows are never in two batches."""

NAMES = ("Zoë", "渡辺 健二", "🎉👩‍👩‍👧", 'O\'Brien \\ "q"', "", "a\nb\tc", "None", None)
PAGES = ("pricing", "settings", "Größe", None)
FIRST_VIEW = datetime(2026, 1, 13, 8, tzinfo=UTC)

COLUMNS = "id BIGINT PRIMARY KEY, email VARCHAR(200), first_name VARCHAR(200), candidate TINYINT, score DECIMAL(8,2),"
TABLE = f"({COLUMNS} page VARCHAR(50), detail VARCHAR(50), event_time DATETIME) CHARACTER SET utf8mb4"

DETAIL = '"text"'
OTHER_TYPE = "5"
"""JSON of the event's field `detail`, which the platform knows as text: it refuses an event with a number there."""

NOT_A_DOMAIN = "c0m"
"""A top-level domain the platform refuses and our own check does not."""


class View(NamedTuple):
    """A row of the table."""

    id: int
    email: str | None
    first_name: str | None
    candidate: int
    score: float | None
    page: str | None
    detail: str
    event_time: datetime


class Fate(NamedTuple):
    """What must become of a row; `call` is the one it ends with, empty where the row never becomes calls."""

    outcome: Outcome
    code: str
    call: str


DELIVERED = Fate(Outcome.DELIVERED, "delivered", EVENT_TRACK)

BAD = {
    "malformed": Fate(Outcome.INVALID, "email_malformed", ""),
    "nobody": Fate(Outcome.INVALID, "identifier_missing", ""),
    "flag": Fate(Outcome.INVALID, "not_a_boolean", ""),
    "refused": Fate(Outcome.REJECTED, "InvalidEmailAddressError", USER_UPDATE),
    "eventless": Fate(Outcome.REJECTED, "RequestFieldsTypesMismatched", EVENT_TRACK),
    "gone": Fate(Outcome.SUPPRESSED, "ForgottenUserError", USER_UPDATE),
}
BAD_IN_BULK = BAD | {"refused": Fate(Outcome.REJECTED, "invalid_identifier", USER_UPDATE)}
"""A bulk answer names the refused row and gives no reason."""


@dataclass(frozen=True)
class Source:
    """The rows of one table; all people in it have an address under `domain`."""

    name: str
    rows: tuple[View, ...]
    fates: tuple[Fate, ...]

    @property
    def domain(self) -> str:
        return f"@{self.name.replace('_', '-')}.example.com"

    def query(self, *, pause: str = "0") -> str:
        """Return the sync's query; `pause` is an expression in seconds per row."""
        return (
            "SELECT id AS view_id, email, first_name, candidate, score, page, detail, event_time,"
            f" SLEEP({pause}) AS pause FROM {self.name}"
            " WHERE event_time >= %(window_start)s AND event_time < %(window_end)s ORDER BY id"
        )

    @property
    def of_fate(self) -> dict[Outcome, int]:
        counts = dict.fromkeys((Outcome.DELIVERED, Outcome.INVALID, Outcome.REJECTED, Outcome.SUPPRESSED), 0)
        for fate in self.fates:
            counts[fate.outcome] += 1
        return counts

    @property
    def calls(self) -> int:
        """Calls that a delivery without any trouble makes."""
        sent = {"": 0, USER_UPDATE: 1, EVENT_TRACK: 2}
        return sum(sent[fate.call] for fate in self.fates)


def plan(name: str, rows: int, *, seed: int, in_bulk: bool, bad: Sequence[str] = tuple(BAD)) -> Source:
    """Return a source of `rows` rows (whole blocks), with two rows of each kind in `bad` among them."""
    assert rows % BLOCK == 0
    assert rows // BLOCK >= 2 * len(bad), "too few blocks for the planted rows"
    draw = random.Random(seed)
    blocks = draw.sample(range(rows // BLOCK), 2 * len(bad))
    planted = {block * BLOCK + 5: kind for block, kind in zip(blocks, [*bad, *bad], strict=True)}
    source = Source(name, (), ())
    views = tuple(_view(number, planted.get(number), source.domain, draw) for number in range(rows))
    known = BAD_IN_BULK if in_bulk else BAD
    fates = tuple(known[planted[number]] if number in planted else DELIVERED for number in range(rows))
    return Source(name, views, fates)


def _view(number: int, kind: str | None, domain: str, draw: random.Random) -> View:
    view = View(
        id=1000 + number,
        email=_email(number, kind, domain),
        first_name=draw.choice(NAMES),
        candidate=2 if kind == "flag" else draw.randint(0, 1),
        score=draw.choice((None, 0.25, 17.5, -3.75)),
        page=draw.choice(PAGES),
        detail=OTHER_TYPE if kind == "eventless" else DETAIL,
        event_time=FIRST_VIEW + timedelta(seconds=number),
    )
    # Two rows of one person never have the same profile, or the wrong one of them could win unnoticed.
    return view._replace(first_name=f"Ada {number}") if number % BLOCK in (3, 7) else view


def _email(number: int, kind: str | None, domain: str) -> str | None:
    match kind:
        case "nobody":
            return None
        case "malformed":
            return f"malformed {number}"
        case None | "flag":
            block, place = divmod(number, BLOCK)
            match place:
                case 3:
                    return f"Again{block}{domain}"
                case 7:
                    return f"again{block}{domain.upper()}"
            return f"p{number}{domain}"
        case "refused":
            return f"refused{number}{domain.removesuffix('com')}{NOT_A_DOMAIN}"
    return f"{kind}{number}{domain}"


def load(connect: Callable[[], Any], source: Source) -> None:
    """Make the table of a source, as the administrator."""
    run(connect, f"DROP TABLE IF EXISTS {source.name}", f"CREATE TABLE {source.name} {TABLE}")
    connection = connect()
    try:
        cursor = connection.cursor()
        places = ", ".join(["%s"] * len(View._fields))
        cursor.executemany(f"INSERT INTO {source.name} VALUES ({places})", list(map(_stored, source.rows)))
    finally:
        connection.close()


def _stored(row: View) -> View:
    """Return the row as MySQL takes it: its times have no zone, ours are UTC."""
    return row._replace(event_time=row.event_time.replace(tzinfo=None))


def preparation(source: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the requests after which the platform knows the fields and has forgotten the planted people."""
    other = "somebody@elsewhere.example.com"
    yield "/api/users/update", {"email": other}
    event = {"id": "first", "eventName": EVENT, "createdAt": 1_700_000_000, "dataFields": {"detail": "text"}}
    yield "/api/events/track", {"email": other, **event}
    for row, fate in zip(source.rows, source.fates, strict=True):
        if fate == BAD["gone"]:
            yield "/api/users/update", {"email": row.email}
            yield "/api/users/forget", {"email": row.email}
