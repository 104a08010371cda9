"""Whole runs of a sync that reads on from a watermark: what each reads, and where the watermark stands after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.incremental import Incremental, Position
from reverse_etl.ledger.ledger import Ledger
from reverse_etl.sandbox.testing import SandboxServer
from reverse_etl.sync import Sync
from tests.operators.conftest import DAY, Finished, build_dag, default_destination, local, register

pytestmark = pytest.mark.integration

Shop = Callable[..., list[tuple[Any, ...]]]
Run = Callable[..., Finished]

QUERY = """
SELECT id AS view_id, email, first_name, candidate, page, event_time, updated_at FROM changes
WHERE updated_at >= %(after_time)s AND (updated_at > %(after_time)s OR id > %(after_key)s)
  AND updated_at < %(before_time)s
ORDER BY updated_at, id
"""
INCREMENTAL = Incremental("updated_at", "view_id", timedelta(minutes=10))
NO_OVERLAP = Incremental("updated_at", "view_id", timedelta(0))
PROBLEM = {"kind": "status", "status": 500}


@pytest.fixture(params=["DATETIME(6)", "TIMESTAMP(6)"])
def column_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def change(shop: Shop, column_type: str) -> Iterator[Callable[..., None]]:
    """Make an empty table; return a function that writes a row, changed on 2026-01-13 at the given time."""
    shop("DROP TABLE IF EXISTS changes")
    shop(
        "CREATE TABLE changes (id INT PRIMARY KEY, email VARCHAR(200), first_name VARCHAR(50), candidate TINYINT,"
        f" page VARCHAR(50), event_time DATETIME, updated_at {column_type} NULL)"
    )

    def write(number: int, time: str | None, email: str | None = None, day: str = DAY) -> None:
        shop(
            "REPLACE INTO changes VALUES (%s, %s, 'Ada', 1, 'pricing', '2026-01-13 08:00:00', %s)",
            number,
            email or f"p{number}@example.com",
            time and f"{day} {time}",
        )

    yield write
    shop("DROP TABLE changes")


@pytest.fixture
def run(connections: Callable[..., None], tmp_path: Path) -> Run:
    """Return a function that runs the sync, without a date unless one is given."""

    def run(
        query: str = QUERY, *, incremental: Incremental = INCREMENTAL, calls: Any = "single", **params: object
    ) -> Finished:
        path = tmp_path / "changes.sql"
        path.write_text(query)
        sync = Sync(
            name="changes",
            query=path,
            key=("view_id",),
            destination=default_destination(calls),
            incremental=incremental,
        )
        dag = build_dag(sync, retries=0)
        register(dag)
        return Finished(dag.test(run_conf=params), tmp_path / "output")

    return run


@pytest.fixture
def watermark(tmp_path: Path) -> Callable[[], Position | None]:
    def found() -> Position | None:
        with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
            mark = ledger.watermarks.get("changes")
            return mark.position if mark else None

    return found


Change = Callable[..., None]
Mark = Callable[[], Position | None]


def place(time: str, key: int) -> Position:
    return Position(datetime.fromisoformat(f"{DAY}T{time}+00:00").astimezone(UTC), key)


once = pytest.mark.parametrize("column_type", ["DATETIME(6)"], indirect=True)


def test_the_first_run_reads_everything_and_the_next_what_changed(run: Run, change: Change, watermark: Mark) -> None:
    change(1, "08:00:00.000001")
    change(2, "08:00:00.000002")
    change(3, "00:00:00", day="2019-06-01")
    assert run(incremental=NO_OVERLAP).counts == {"read": 3, "delivered": 3}
    assert watermark() == place("08:00:00.000002", 2)
    nothing = run(incremental=NO_OVERLAP)
    assert (nothing.state, nothing.counts, nothing.result["watermark_moved"]) == ("success", {}, False)
    change(1, "08:00:00.000002")
    change(4, "08:00:00.000002")
    change(5, "08:00:00.000003")
    # Row 1 now has the watermark's time and a lower key: only an overlap would find it.
    assert run(incremental=NO_OVERLAP).counts == {"read": 2, "delivered": 2}
    assert watermark() == place("08:00:00.000003", 5)
    assert run().counts == {"read": 4, "delivered": 4}
    assert watermark() == place("08:00:00.000003", 5)


@once
def test_rows_committed_late_are_found_within_the_overlap(run: Run, change: Change, watermark: Mark) -> None:
    change(5, "08:30:00")
    run()
    change(2, "08:20:00")
    change(1, "08:19:59.999999")
    assert run().counts == {"read": 2, "delivered": 2}
    assert watermark() == place("08:30:00", 5)


@once
def test_the_first_run_may_have_a_start(run: Run, change: Change, watermark: Mark) -> None:
    change(1, "07:59:59.999999")
    change(2, "08:00:00")
    start = datetime(2026, 1, 13, 8, tzinfo=UTC)
    assert run(incremental=Incremental("updated_at", "view_id", timedelta(0), start)).counts["read"] == 1
    assert watermark() == place("08:00:00", 2)


@once
@pytest.mark.parametrize(("failing", "reached"), [((5,), 4), ((4, 7), 3), ((3,), 2), ((1, 6), None)])
def test_a_failed_row_holds_the_watermark_and_the_next_run_sends_it(
    run: Run,
    change: Change,
    watermark: Mark,
    sandbox: SandboxServer,
    failing: tuple[int, ...],
    reached: int | None,
) -> None:
    for number in range(1, 8):
        change(number, "08:00:00")
    emails = [f"p{number}@example.com" for number in failing]
    sandbox.faults([{**PROBLEM, "path": "/api/users/update", "match_email": email} for email in emails])
    failed = run(batch_rows=3, incremental=NO_OVERLAP)
    assert failed.counts == {"read": 7, "delivered": 7 - len(failing), "failed": len(failing)}
    assert watermark() == (None if reached is None else place("08:00:00", reached))
    sandbox.faults([])
    left = 7 - (reached or 0)
    assert run(batch_rows=3, incremental=NO_OVERLAP).counts == {"read": left, "delivered": left}
    assert {event["email"] for event in sandbox.events()} == {f"p{number}@example.com" for number in range(1, 8)}
    assert watermark() == place("08:00:00", 7)


@once
def test_a_run_that_delivers_nothing_leaves_it_alone(
    run: Run, change: Change, watermark: Mark, connections: Callable[..., None]
) -> None:
    change(1, "08:00:00")
    connections(password="no-such-key")
    failed = run()
    assert (failed.counts, failed.result["watermark_moved"], watermark()) == ({"read": 1, "failed": 1}, False, None)


@once
def test_refused_rows_do_not_hold_it_and_are_replayed_by_their_days(
    run: Run, change: Change, watermark: Mark, sandbox: SandboxServer, tmp_path: Path
) -> None:
    from reverse_etl.operators.replay import ReplayRun, Wanted, reread

    change(1, "08:00:00", day="2024-01-01")
    change(2, "08:00:00", email="no-address")
    change(3, "08:00:01")
    assert run().counts == {"read": 3, "delivered": 2, "invalid": 1}
    assert watermark() == place("08:00:01", 3)
    change(2, "08:00:00", email="mended@example.com")
    sync = Sync(
        "changes", tmp_path / "changes.sql", ("view_id",), default_destination("single"), incremental=INCREMENTAL
    )
    found = reread(sync, Wanted("changes"), ReplayRun("replay", "one").folder("changes"), batch_rows=10)
    assert (found.rows, found.not_in_source, found.forgotten) == (1, 0, 0)
    assert [(batch.day, batch.window_days) for batch in found.batches] == [(DAY, 744)]


@once
@pytest.mark.parametrize(
    ("params", "read"), [({"date": DAY, "window_days": 1}, 2), ({"row_limit": 1}, 1), ({"dry_run": True}, 3)]
)
def test_days_trials_and_dry_runs_do_not_move_it(
    run: Run, change: Change, watermark: Mark, params: dict[str, object], read: int
) -> None:
    change(1, "08:00:00")
    run()
    change(2, "09:00:00")
    change(3, "00:00:00", day="2026-01-14")
    finished = run(**params)
    assert finished.state == "success"
    assert finished.result["watermark_moved"] is None
    assert finished.counts["read"] == read
    assert watermark() == place("08:00:00", 1)


@once
def test_a_cleared_run_sends_its_own_rows_again_and_moves_nothing(
    run: Run, change: Change, watermark: Mark, connections: Callable[..., None], tmp_path: Path
) -> None:
    """As after Clear, `reading_of` is asked again for the same run."""
    from reverse_etl.operators.base import RunParams
    from reverse_etl.operators.reading import reading_of
    from reverse_etl.operators.watermark import move_watermark

    change(1, "08:00:00")
    first = run()
    change(2, "09:00:00")
    run()
    sync = Sync(
        "changes", tmp_path / "changes.sql", ("view_id",), default_destination("single"), incremental=INCREMENTAL
    )
    context = {"dag_run": first.run}
    reading = reading_of(sync, context, RunParams(None, 1, None, dry_run=False, batch_rows=10, send="all"))
    assert reading.span is not None
    assert (reading.span.after, reading.span.before) == (None, place("08:00:00.000001", 1).time)
    assert not move_watermark(sync, context, place("08:00:00", 1))
    assert watermark() == place("09:00:00", 2)


@once
@pytest.mark.parametrize(
    ("query", "message"),
    [
        (QUERY.replace("ORDER BY updated_at, id", "ORDER BY id DESC"), "do not come in the order of updated_at"),
        (QUERY.replace("AND updated_at < %(before_time)s", ""), r"does not use %(before_time)s, which the query of an"),
        (QUERY.replace("%(before_time)s", "%(window_end)s"), "uses the parameter 'window_end', which is not given"),
        (QUERY.replace("id AS view_id, ", "'x' AS view_id, "), "column view_id holds text, but Incremental.key needs"),
        (QUERY.replace(", updated_at FROM", " FROM"), "gives no column updated_at, which sync changes needs"),
    ],
)
def test_a_query_that_cannot_be_followed_sends_nothing(
    run: Run,
    change: Change,
    watermark: Mark,
    sandbox: SandboxServer,
    capsys: pytest.CaptureFixture[str],
    query: str,
    message: str,
) -> None:
    change(1, "08:00:00")
    change(2, "08:00:01")
    assert run(query).state == "failed"
    assert message in capsys.readouterr().out
    assert (sandbox.stats()["requests_total"], watermark()) == (0, None)


@once
def test_a_row_without_a_time_is_refused_and_not_left_out(
    run: Run, change: Change, watermark: Mark, capsys: pytest.CaptureFixture[str]
) -> None:
    change(1, None)
    query = QUERY.replace("WHERE ", "WHERE updated_at IS NULL OR ")
    assert run(query).state == "failed"
    assert "column updated_at is NULL in a row of the query" in capsys.readouterr().out


@once
@pytest.mark.parametrize("day", ["2999-01-01", "9999-12-31"])
def test_a_row_of_the_future_is_refused_and_the_watermark_does_not_wait_there(
    run: Run, change: Change, watermark: Mark, sandbox: SandboxServer, capsys: pytest.CaptureFixture[str], day: str
) -> None:
    change(1, "08:00:00")
    change(2, "08:00:00", day=day)
    assert run().state == "failed"
    assert "column updated_at of a row lies in the future" in capsys.readouterr().out
    assert (sandbox.stats()["requests_total"], watermark()) == (0, None)
    change(2, "09:00:00")
    assert run().counts == {"read": 2, "delivered": 2}
    assert watermark() == place("09:00:00", 2)


@pytest.mark.parametrize("column_type", ["DATE"], indirect=True)
def test_dates_are_read_again_for_a_day(run: Run, change: Change, watermark: Mark) -> None:
    change(5, "00:00:00")
    days = Incremental("updated_at", "view_id", timedelta(days=1))
    assert run(incremental=days).counts == {"read": 1, "delivered": 1}
    change(2, "00:00:00")
    change(3, "00:00:00", day="2026-01-12")
    change(4, "00:00:00", day="2026-01-11")
    assert run(incremental=days).counts == {"read": 3, "delivered": 3}
    assert watermark() == place("00:00:00", 5)


@once
def test_files_of_two_runs_of_a_day_do_not_replace_each_other(run: Run, change: Change) -> None:
    change(1, "08:00:00")
    first = run()
    stamp = first.run.run_after.strftime("%Y%m%d_%H%M%S")
    assert local(first.result["json"]).name == f"integration_results_{stamp}.json"
