"""A million rows, generated inside the database once and kept for the next run."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from devstack.database import PrivateServer

ROWS = 1_000_000
QUERY = Path(__file__).with_name("generated_rows.sql")

_TABLE = """
CREATE TABLE benchmark_rows (
    page_view_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    user_id      BIGINT UNSIGNED NOT NULL,
    email        VARCHAR(254) NOT NULL,
    first_name   VARCHAR(100) NOT NULL,
    last_name    VARCHAR(100) NOT NULL,
    plan_type    ENUM('free', 'basic', 'pro', 'enterprise') NOT NULL,
    candidate    BOOLEAN NOT NULL,
    page         VARCHAR(100) NOT NULL,
    device       VARCHAR(50) NOT NULL,
    browser      VARCHAR(50) NOT NULL,
    location     VARCHAR(100) NOT NULL,
    event_time   DATETIME(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci
"""
_DIGITS = " UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10))
_NUMBERS = (
    "SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d + 100000 * g.d AS n FROM "
    + " CROSS JOIN ".join(f"({_DIGITS}) AS {name}" for name in "abcefg")
    + " ORDER BY n"
)
_FILL = f"""
INSERT INTO benchmark_rows
SELECT
    n,
    500000 + n,
    CONCAT('person', LPAD(n, 7, '0'), '@example.com'),
    ELT(1 + n % 5, 'Ada', 'Grace', 'Zoë', 'Jürgen', '美咲'),
    ELT(1 + n % 7, 'Lovelace', 'Hopper', 'O''Brien', 'Müller', '佐藤', 'Garcia', 'van der Berg'),
    'pro',
    n % 3 = 0,
    ELT(1 + n % 2, 'pricing', 'settings'),
    ELT(1 + n % 3, 'desktop', 'mobile', 'tablet'),
    ELT(1 + n % 4, 'Chrome', 'Safari', 'Firefox', 'Edge'),
    ELT(1 + n % 5, 'Berlin, DE', 'Austin, US', 'São Paulo, BR', 'Osaka, JP', 'Leeds, GB'),
    TIMESTAMP('2026-01-13 23:59:59') - INTERVAL n SECOND
FROM ({_NUMBERS}) AS numbers
"""


def generate(server: PrivateServer) -> None:
    """Fill the table `benchmark_rows` unless it is complete."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES LIKE 'benchmark_rows'")
        if cursor.fetchone():
            cursor.execute("SELECT COUNT(*) FROM benchmark_rows")
            if cursor.fetchone() == (ROWS,):
                return
        cursor.execute("DROP TABLE IF EXISTS benchmark_rows")
        cursor.execute(_TABLE)
        cursor.execute(_FILL)
