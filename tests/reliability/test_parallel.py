"""Several processes with one key and one ledger: two DAGs, four DAGs, and two deliveries of the very same batch."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.delivery.outcomes import Outcome
from tests.reliability import check, workers
from tests.reliability.conftest import Scene
from tests.reliability.source import Source

LIMIT_SECONDS = 120.0

PER_SECOND = 60
"""Requests per second the sandbox lets through at each endpoint; small, so that two cores are not the limit."""

LIMITED = ("/api/users/update", "/api/events/track")


def homes(folder: Path, count: int) -> list[dict[str, str]]:
    """Return the environment of each process: an Airflow home of its own, with the metadata database of this one."""
    environments = []
    for number in range(count):
        home = folder / f"home-{number}"
        home.mkdir()
        copy_database(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db", home / "airflow.db")
        environments.append({"AIRFLOW_HOME": str(home)})
    return environments


def copy_database(database: Path, copy: Path) -> None:
    with closing(sqlite3.connect(database)) as present, closing(sqlite3.connect(copy)) as new:
        present.backup(new)


def limited(scene: Scene, names: list[str], rows: int, seed: int) -> list[Source]:
    """Return sources to be sent to a platform that lets PER_SECOND requests through."""
    sources = [scene.plan(name, rows, "single", seed=seed + number) for number, name in enumerate(names)]
    scene.sandbox.settings(limits={f"POST {path}": PER_SECOND for path in LIMITED})
    scene.platform_at(rate_limits=dict.fromkeys(LIMITED, PER_SECOND))
    return sources


def run_together(
    scene: Scene, commands: list[list[object]], environments: list[dict[str, str]], seed: int
) -> list[dict[str, Any]]:
    """Run the workers side by side; fail when they disturb each other or leave too much of the rate unused."""
    with workers.started(commands, environments) as running:
        begun, rate = time.monotonic(), Rate(scene)
        while any(process.poll() is None for process in running) and time.monotonic() - begun < 90:
            rate.look()
            time.sleep(0.05)
        ends = workers.told(running, within=5)
    assert scene.sandbox.stats()["throttled"] == 0, f"seed {seed}"
    assert scene.sandbox.stats()["person_overlaps"] == 0, f"seed {seed}"
    assert rate.best() >= 0.8 * PER_SECOND, f"seed {seed}: {rate.best():.1f} requests/s of {PER_SECOND}"
    return ends


class Rate:
    """The requests per second at one endpoint in its best three seconds: processes begin and end at different times."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._seen: list[tuple[float, int]] = []

    def look(self) -> None:
        counts = self._scene.sandbox.stats()["requests"].get("POST /api/users/update", {})
        self._seen.append((time.monotonic(), sum(counts.values())))

    def best(self) -> float:
        spans = [(a, b) for a in self._seen for b in self._seen if 3.0 <= b[0] - a[0] <= 3.5]
        return max((b[1] - a[1]) / (b[0] - a[0]) for a, b in spans)


@pytest.mark.parametrize("seed", [81])
def test_two_dags_with_one_key_share_its_rate_and_disturb_nobody(scene: Scene, seed: int) -> None:
    sources = limited(scene, ["sharer_0", "sharer_1"], 200, seed)
    for planned in sources:
        scene.query(planned).write_text(planned.query(), encoding="utf-8")
    commands: list[list[object]] = [["dag", planned.name, scene.query(planned), "single", 200] for planned in sources]
    ends = run_together(scene, commands, homes(scene.folder, 2), seed)
    for planned, end in zip(sources, ends, strict=True):
        assert end["state"] == "success", f"seed {seed}: {end['result']['problems']}"
        scene.check_pushed(planned, check.RunId(planned.name, end["run"]), end["result"])


@pytest.mark.parametrize("seed", [85])
def test_four_processes_with_one_key_share_its_rate_and_disturb_nobody(scene: Scene, seed: int) -> None:
    sources = limited(scene, [f"quarter_{number}" for number in range(4)], 120, seed)
    commands: list[list[object]] = []
    for planned in sources:
        batch, results = scene.extract(planned, "single"), f"file://{scene.folder}/{planned.name}.parquet"
        commands.append(["batch", planned.name, scene.query(planned), "single", json.dumps(batch), results])
    ends = run_together(scene, commands, [{}] * 4, seed)
    for planned, end in zip(sources, ends, strict=True):
        assert end["stopped"] == "", f"seed {seed}"
        scene.check_batch(planned, scene.folder / f"{planned.name}.parquet", end["totals"])


@pytest.mark.parametrize("seed", [91])
def test_two_processes_with_the_same_batch_of_the_same_attempt_end_as_one(scene: Scene, seed: int) -> None:
    """As when Airflow gives up a worker that goes on working."""
    planned = scene.plan(f"zombie_{seed}", 200, "single", seed=seed)
    scene.sandbox.settings(latency_ms=20)
    batch, results = scene.extract(planned, "single"), scene.folder / "results.parquet"
    command = ["batch", planned.name, scene.query(planned), "single", json.dumps(batch), f"file://{results}"]
    with workers.started([command, command], [{}, {}]) as running:
        ends = workers.told(running, within=60)
    assert [end["stopped"] for end in ends] == ["", ""], f"seed {seed}"
    assert ends[0]["totals"] == ends[1]["totals"], f"seed {seed}"
    scene.check_batch(planned, results, ends[0]["totals"])

    before = scene.sandbox.stats()["requests_total"]
    with workers.started([command], [{}]) as running:
        (third,) = workers.told(running, within=60)
    assert third["resumed"] > 0
    sent = scene.sandbox.stats()["requests_total"] - before
    assert sent == planned.of_fate[Outcome.REJECTED], f"seed {seed}: calls that were settled were sent again"
