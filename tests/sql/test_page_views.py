"""The schema, the seed and the three queries on a real server."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, date, datetime

import MySQLdb
import pytest

from tests.database import Connect, run
from tests.sql.files import QUERIES, SQL, answer, load, window

pytestmark = pytest.mark.integration

JANUARY_12, JANUARY_13 = date(2026, 1, 12), date(2026, 1, 13)
LATEST = "latest_view_per_user"
COLUMNS = [
    *("user_id", "email", "first_name", "last_name", "plan_type", "candidate"),
    *("page_view_id", "page", "device", "browser", "location", "event_time"),
]


def content(connect: Connect) -> tuple[tuple[object, ...], ...]:
    with closing(connect()) as connection, connection.cursor() as cursor:
        rows: tuple[tuple[object, ...], ...] = ()
        for table in ("customers", "page_views"):
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            rows += cursor.fetchall()
        return rows


def chosen(connect: Connect, parameters: dict[str, object]) -> dict[object, object]:
    return {row["user_id"]: row["page_view_id"] for row in answer(connect, LATEST, parameters)}


def add_view(connect: Connect, number: int, user: int, page: str, moment: str) -> None:
    run(
        connect,
        f"INSERT INTO page_views VALUES ({number}, {user}, '{page}', 'desktop', 'Firefox', 'Oslo, NO', '{moment}')",
    )


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("SELECT COUNT(*) FROM customers", 15),
        ("SELECT COUNT(*) FROM page_views", 40),
        ("SELECT COUNT(DISTINCT plan_type) FROM customers", 4),
        ("SELECT COUNT(DISTINCT page) FROM page_views", 5),
        ("SELECT COUNT(*) FROM page_views WHERE DATE(event_time) NOT IN ('2026-01-12', '2026-01-13')", 0),
        ("SELECT COUNT(DISTINCT DATE(event_time)) FROM page_views", 2),
        ("SELECT COUNT(*) FROM customers WHERE email NOT REGEXP '@example[.](com|org)$'", 0),
        ("SELECT COUNT(*) FROM customers WHERE first_name IN ('Zoë', 'Łukasz') OR last_name = '渡辺'", 3),
    ],
)
def test_the_seed_has_what_it_promises(shop: Connect, sql: str, count: int) -> None:
    with closing(shop()) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        assert cursor.fetchone() == (count,)


def test_loading_again_restores_the_rows_and_keeps_others(shop: Connect) -> None:
    before = content(shop)
    run(
        shop,
        "UPDATE customers SET plan_type = 'free', last_name = 'Other', candidate = 1 - candidate WHERE id <= 5",
        "DELETE FROM customers WHERE id = 3",
        "UPDATE page_views SET page = 'other', user_id = 1, event_time = '2020-01-01' WHERE id > 30",
        "INSERT INTO customers (id, email, first_name, last_name) VALUES (99, 'new@example.com', 'New', 'One')",
    )

    load(shop, SQL / "schema.sql")
    load(shop, SQL / "seed.sql")

    after = content(shop)
    assert [row for row in after if row[0] != 99] == list(before)
    assert len(after) == len(before) + 1


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("INSERT INTO customers (email, first_name, last_name) VALUES ('ZOE.Martin@example.com', '', '')", "Duplicate"),
        ("INSERT INTO page_views VALUES (99, 999, 'home', 'a', 'b', 'c', '2026-01-13')", "foreign key"),
        ("UPDATE customers SET plan_type = 'gold' WHERE id = 1", "plan_type"),
        ("UPDATE page_views SET event_time = NULL WHERE id = 1", "event_time"),
    ],
)  # fmt: skip
def test_the_schema_refuses_wrong_rows(shop: Connect, statement: str, message: str) -> None:
    with pytest.raises(MySQLdb.Error, match=message):
        run(shop, statement)


@pytest.mark.parametrize(
    ("day", "views"),
    [
        (JANUARY_12, {1: 20, 2: 12, 3: 6}),
        (JANUARY_13, {1: 37, 2: 27, 3: 6, 4: 21, 5: 39}),
        (date(2026, 1, 18), {1: 37, 2: 27, 3: 6, 4: 21, 5: 39}),
        (date(2026, 1, 19), {1: 37, 2: 27, 4: 21, 5: 39}),
        (date(2026, 1, 20), {}),
        (date(2026, 1, 11), {}),
    ],
)
def test_the_latest_view_of_each_pro_customer_in_the_seven_days(
    shop: Connect, day: date, views: dict[int, int]
) -> None:
    assert chosen(shop, window(day)) == views


def test_a_row_has_the_agreed_columns_in_order_and_comes_by_user(shop: Connect) -> None:
    rows = answer(shop, LATEST, window(JANUARY_13))

    assert list(rows[0]) == COLUMNS
    assert [row["user_id"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[2] == {
        "user_id": 3,
        "email": "kenji.watanabe@example.com",
        "first_name": "健二",
        "last_name": "渡辺",
        "plan_type": "pro",
        "candidate": 1,
        "page_view_id": 6,
        "page": "pricing",
        "device": "tablet",
        "browser": "Safari",
        "location": "大阪, JP",
        "event_time": datetime(2026, 1, 12, 9, 45, 12, 375000, UTC).replace(tzinfo=None),
    }


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-01-06 23:59:59.999999", False),
        ("2026-01-07 00:00:00.000000", True),
        ("2026-01-13 23:59:59.999999", True),
        ("2026-01-14 00:00:00.000000", False),
    ],
)
@pytest.mark.parametrize("query", ["qualifying_views", LATEST, "engagement_summary"])
def test_a_view_at_the_start_is_in_and_one_at_the_end_is_out(
    shop: Connect, query: str, moment: str, inside: bool
) -> None:
    add_view(shop, 100, 7, "pricing", moment)

    assert any(row["user_id"] == 7 for row in answer(shop, query, window(JANUARY_13))) is inside


def test_a_tie_goes_to_the_higher_id(shop: Connect) -> None:
    add_view(shop, 100, 7, "pricing", "2026-01-13 10:00:00")
    add_view(shop, 102, 7, "settings", "2026-01-13 10:00:00")
    add_view(shop, 101, 7, "pricing", "2026-01-13 10:00:00")

    assert chosen(shop, window(JANUARY_13))[7] == 102


@pytest.mark.parametrize(
    "statement", ["UPDATE customers SET plan_type = 'enterprise'", "UPDATE page_views SET page = 'blog'"]
)
def test_other_plans_and_pages_do_not_qualify(shop: Connect, statement: str) -> None:
    run(shop, f"{statement} WHERE {'id' if 'customers' in statement else 'user_id'} = 1")

    assert chosen(shop, window(JANUARY_13)) == {2: 27, 3: 6, 4: 21, 5: 39}


@pytest.mark.parametrize("query", ["qualifying_views", LATEST, "engagement_summary"])
def test_the_answer_for_a_day_does_not_depend_on_today(shop: Connect, query: str) -> None:
    before = answer(shop, query, window(JANUARY_12))

    for number, moment in enumerate(("2026-01-14 08:00:00", "2030-06-01 08:00:00"), start=100):
        add_view(shop, number, 1, "pricing", moment)
    connection = shop()
    connection.query(b"SET SESSION timestamp = UNIX_TIMESTAMP('2031-01-01')")
    connection.store_result()
    assert answer(lambda: connection, query, window(JANUARY_12)) == before

    code = re.sub(r"--.*", "", (QUERIES / f"{query}.sql").read_text())
    assert not re.search(r"\b(NOW|CURRENT_\w+|CURDATE|CURTIME|SYSDATE|UTC_\w+|LOCALTIME\w*)\b", code, re.IGNORECASE)


def test_all_qualifying_views_are_ranked_from_the_newest(shop: Connect) -> None:
    rows = answer(shop, "qualifying_views", window(JANUARY_13))

    assert [(row["user_id"], row["recency"], row["page_view_id"]) for row in rows] == [
        (1, 1, 37), (1, 2, 20), (1, 3, 2),
        (2, 1, 27), (2, 2, 26), (2, 3, 12),
        (3, 1, 6), (3, 2, 5),
        (4, 1, 21),
        (5, 1, 39), (5, 2, 31),
    ]  # fmt: skip


def test_the_summary_counts_views_pages_and_devices(shop: Connect) -> None:
    rows = answer(shop, "engagement_summary", window(JANUARY_13))

    assert [row["user_id"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[1] == {
        "user_id": 2,
        "email": "lukasz.nowak@example.org",
        "views": 5,
        "distinct_pages": 4,
        "distinct_devices": 2,
        "first_view": datetime(2026, 1, 12, 12, 1, 9, 125000, UTC).replace(tzinfo=None),
        "last_view": datetime(2026, 1, 13, 8, 30, tzinfo=UTC).replace(tzinfo=None),
        "pages": "features, home, pricing, settings",
    }


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("qualifying_views", "page_views_page_event_time"),
        (LATEST, "page_views_page_event_time"),
        ("engagement_summary", "page_views_event_time"),
    ],
)
def test_the_window_is_found_by_an_index(shop: Connect, query: str, index: str) -> None:
    digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5)"
    run(
        shop,
        # A year of views: 52,000, of which 7 days are the fiftieth part, and the wanted pages a twelfth of that.
        "INSERT INTO page_views (user_id, page, device, browser, location, event_time) "
        "SELECT user_id, IF(e.d = 0, page, 'blog'), device, browser, location, event_time "
        "- INTERVAL (a.d + 6 * b.d + 36 * c.d + 216 * (e.d MOD 2)) DAY "
        f"FROM page_views, {digits} a, {digits} b, {digits} c, {digits} e",
        # So many customers that reading them all is no alternative.
        "INSERT INTO customers (email, first_name, last_name, plan_type) "
        "SELECT CONCAT(id, '@example.net'), '', '', IF(id MOD 4 = 0, 'pro', 'free') "
        "FROM page_views WHERE id > 100 LIMIT 4000",
        # Every page is counted, not a sample of twenty, so that the plan is the same each time.
        "ALTER TABLE page_views STATS_SAMPLE_PAGES = 10000",
        "ALTER TABLE customers STATS_SAMPLE_PAGES = 10000",
        "ANALYZE TABLE page_views, customers",
    )
    text = (QUERIES / f"{query}.sql").read_text()

    with closing(shop()) as connection, connection.cursor(MySQLdb.cursors.DictCursor) as cursor:
        cursor.execute(
            "EXPLAIN " + re.sub(r"--.*", "", text).strip().rstrip(";"),
            {name: str(value)[:19] for name, value in window(JANUARY_13).items()},
        )
        plan = {row["table"]: row for row in cursor.fetchall()}

    assert plan["page_views"]["key"] == index
    assert (plan["page_views"]["type"], plan["customers"]["type"]) == ("range", "eq_ref")
    assert int(plan["page_views"]["rows"]) < 5000
