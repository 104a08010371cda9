"""The SQL files under test and how to run them."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from reverse_etl.staging.source import stream_query
from tests.database import Connect

SQL = Path(__file__).parents[2] / "include" / "sql"
QUERIES = SQL / "page_views"


def load(connect: Connect, path: Path) -> None:
    """Run all statements of a file, as the `mysql` program would."""
    with closing(connect()) as connection, connection.cursor() as cursor:
        cursor.execute(path.read_text(encoding="utf-8"))
        while cursor.nextset() is not None:
            continue


def window(day: date, days: int = 7) -> dict[str, object]:
    """Return the parameters of the window of `days` days that ends with the end of `day`."""
    end = datetime.combine(day, time(), UTC) + timedelta(days=1)
    return {"window_start": end - timedelta(days=days), "window_end": end}


def answer(connect: Connect, query: str, parameters: dict[str, object]) -> list[dict[str, object]]:
    """Return the rows of one of the queries as dicts."""
    stream = stream_query(connect(), (QUERIES / f"{query}.sql").read_text(encoding="utf-8"), parameters)
    names = [column.name for column in stream.columns]
    return [dict(zip(names, row, strict=True)) for chunk in stream for row in chunk]
