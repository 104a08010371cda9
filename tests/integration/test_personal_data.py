"""Nothing personal and no secret in any log, XCom or database of Airflow, at debug level, on a bad day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reverse_etl.sandbox.testing import SERVER_KEY
from tests.integration.conftest import LiveAirflow

pytestmark = pytest.mark.integration

PLANTED = (
    "quetzalcoatl.planted@example.com",
    "Quetzalcoatlina",
    "Plantedovich",
    "malformed-quetzal-planted",
    "Xochimilco, ZZ",
)
FAULTS = [
    {"kind": "status", "status": 503, "probability": 0.2, "seed": 1, "times": 4},
    {"kind": "garbage", "probability": 0.2, "seed": 2, "times": 2},
    {"kind": "lost_reply", "probability": 0.2, "seed": 3, "times": 2},
    {"path": "/api/events/track", "kind": "status", "status": 400, "match_email": PLANTED[0]},
]


@pytest.fixture
def planted(live: LiveAirflow) -> Iterator[None]:
    """Add a person one can recognise, whose event is refused, and one whose e-mail is malformed."""
    with closing(live.database.connect()) as connection, connection.cursor() as cursor:
        for number, email in ((5001, PLANTED[0]), (5002, PLANTED[3])):
            cursor.execute(
                "INSERT INTO customers (id, email, first_name, last_name, plan_type, candidate)"
                " VALUES (%s, %s, %s, %s, 'pro', 1)",
                (number, email, PLANTED[1], PLANTED[2]),
            )
            cursor.execute(
                "INSERT INTO page_views (id, user_id, page, device, browser, location, event_time)"
                " VALUES (%s, %s, 'pricing', 'mobile', 'Firefox', %s, '2026-01-13 10:00:00')",
                (50_000 + number, number, PLANTED[4]),
            )
        live.admin("PUT", "/sandbox/faults", FAULTS)
        yield
        live.admin("PUT", "/sandbox/faults", [])
        cursor.execute("DELETE FROM page_views WHERE user_id >= 5001")
        cursor.execute("DELETE FROM customers WHERE id >= 5001")


def holding(folder: Path, texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the texts found in files of the folder, by file."""
    found: dict[str, list[str]] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            hits = [text for text in texts if text.encode() in content or text.encode("unicode_escape") in content]
            if hits:
                found[str(path.relative_to(folder))] = hits
    return found


def test_no_log_and_no_table_of_airflow_holds_personal_data_or_a_key(live: LiveAirflow, planted: None) -> None:
    run_id = live.trigger(conf={"date": "2026-01-13"})
    assert live.end_of(run_id) == "failed"  # two of seven rows are refused, on purpose
    logs = [path for path in live.layout.airflow_home.rglob("*.log") if "deliver" in str(path)]
    assert any(b"DEBUG" in path.read_bytes() or b'"debug"' in path.read_bytes() for path in logs)
    assert holding(live.layout.airflow_home, PLANTED) == {}
    assert holding(live.layout.logs, PLANTED) == {}
    assert holding(live.layout.logs, (SERVER_KEY,)) == {}
    task_logs = live.layout.airflow_home / "logs"
    assert holding(task_logs, (SERVER_KEY,)) == {}
    # The search finds what is planted where it may be.
    assert holding(live.layout.output, PLANTED[:1])
