"""Rows to be removed that are in the source again are taken out, right before the others are removed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk import ObjectStoragePath

from devstack.ports import free_port
from reverse_etl.consent import Consent
from reverse_etl.errors import ConfigurationError, SourceError, SourceUnavailable
from reverse_etl.iterable.config import IterableDestination, UserUpdate
from reverse_etl.ledger.records import RunRef
from reverse_etl.mapping import Constant, Field
from reverse_etl.mirror import REMOVED_AT, Mirror
from reverse_etl.operators.returned import leave_returned
from reverse_etl.staging.batches import BatchRef, read_rows, write_table
from reverse_etl.sync import Sync

pytestmark = pytest.mark.integration

LOG = logging.getLogger(__name__)
REF = RunRef("members", "run", "members", 0, date(2026, 1, 13), 7)

Shop = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(autouse=True)
def members(shop: Shop, connections: Callable[..., None]) -> Iterator[None]:
    shop("DROP TABLE IF EXISTS members")
    shop(
        "CREATE TABLE members (id INT PRIMARY KEY, club VARCHAR(20), email VARCHAR(200), first_name VARCHAR(50),"
        " score DOUBLE, blocked INT)"
    )
    yield
    shop("DROP TABLE members")


@pytest.fixture
def left(tmp_path: Path) -> Callable[..., tuple[int, list[dict[str, object]]]]:
    """Return a function that takes returned rows out of a batch; it returns how many are left, and those."""

    def left(
        rows: Sequence[dict[str, object]],
        key: Sequence[str] = ("id",),
        query: str = "SELECT * FROM members",
        consent: Consent | None = None,
    ) -> tuple[int, list[dict[str, object]]]:
        path = tmp_path / "members.sql"
        path.write_text(query)
        update = UserUpdate((Field("first_name"),))
        sync = Sync(
            "members",
            path,
            tuple(key),
            IterableDestination(email="email", user=update),
            mirror=Mirror(UserUpdate((Constant("member", value=False),))),
            consent=consent,
        )
        file = ObjectStoragePath(f"file://{tmp_path}/batch-00000.parquet")
        removed_at = {REMOVED_AT: datetime(2026, 1, 14, tzinfo=UTC)}
        write_table(pa.Table.from_pylist([row | removed_at for row in rows]), file)
        batch = leave_returned(sync, REF, BatchRef(0, str(file), len(rows)), LOG)
        assert (batch.index, batch.path) == (0, str(file))
        return batch.rows, [
            {name: value for name, value in row.items() if name != REMOVED_AT}
            for rows in read_rows(file)
            for row in rows
        ]

    return left


Left = Callable[..., tuple[int, list[dict[str, object]]]]


def row(number: int, **others: object) -> dict[str, object]:
    return {"id": number, "email": f"m{number}@example.com", **others}


def test_an_empty_source_leaves_every_row_to_be_removed(left: Left) -> None:
    assert left([row(1), row(2)]) == (2, [row(1), row(2)])


@pytest.mark.parametrize("here", [[2], [1, 2, 3], [2, 9]])
def test_rows_that_are_there_again_are_taken_out_whatever_their_other_columns_hold(
    left: Left, shop: Shop, here: list[int]
) -> None:
    for number in here:
        shop("INSERT INTO members (id) VALUES (%s)", number)
    gone = [row(number) for number in (1, 2, 3) if number not in here]
    assert left([row(1), row(2), row(3)]) == (len(gone), gone)


def test_a_key_of_two_columns_returns_with_both(left: Left, shop: Shop) -> None:
    shop("INSERT INTO members (id, club) VALUES (1, 'chess'), (2, 'golf'), (3, NULL)")
    rows = [row(1, club="chess"), row(2, club="chess"), row(3, club="golf")]
    assert left(rows, key=("club", "id")) == (2, rows[1:])


def test_somebody_not_to_contact_who_is_in_the_source_is_left_alone(left: Left, shop: Shop) -> None:
    shop("INSERT INTO members (id, blocked) VALUES (1, 1), (2, NULL)")
    assert left([row(1), row(2), row(3)], consent=Consent(column="blocked")) == (1, [row(3)])


def test_all_rows_are_read_where_the_key_cannot_be_looked_up(
    left: Left, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop("INSERT INTO members (id, score) VALUES (1, 0.1), (2, 0.3)")
    rows = [row(1, score=0.1), row(2, score=0.2)]
    with caplog.at_level(logging.INFO):
        assert left(rows, key=("score",)) == (1, rows[1:])
        assert "rows cannot be looked up by 'score', which is a DOUBLE" in caplog.text
        hinted = "SELECT SQL_CALC_FOUND_ROWS * FROM members"
        assert left([row(1), row(3)], query=hinted) == (1, [row(3)])
    assert caplog.text.count("All rows of the source are read") == 2


def test_nothing_is_left_to_be_removed_when_nobody_can_tell(
    left: Left, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError, match="Unknown column"):
        left([row(1)], query="SELECT id, mail FROM members")
    with pytest.raises(ConfigurationError, match="first_name"):
        left([row(1, score=0.1)], key=("score",), query="SELECT score, email FROM members")
    connection = {"conn_type": "mysql", "host": "127.0.0.1", "port": free_port(), "login": "nobody"}
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(connection))
    with pytest.raises(SourceUnavailable):
        left([row(1)])


def test_tens_of_thousands_are_looked_up_in_a_few_statements(left: Left, shop: Shop) -> None:
    digits = "(SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 "
    digits += "UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)"
    number = "a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d"
    shop(
        f"INSERT INTO members (id) SELECT {number} FROM {digits} a, {digits} b, {digits} c, {digits} e, {digits} f "
        f"WHERE ({number}) % 2 = 0"
    )
    before = queries(shop)
    number_left, rows = left([row(number) for number in range(12_000)])
    assert number_left == 6_000
    assert all(found["id"] in range(1, 12_000, 2) for found in rows)
    assert len({found["id"] for found in rows}) == 6_000
    assert queries(shop) - before < 20


def queries(shop: Shop) -> int:
    [(_, number)] = shop("SHOW GLOBAL STATUS LIKE 'Com_select'")
    return int(number)
