"""Prepare the metadata database of make up: tables, connection rows, pauses; started by devstack.up.

Reads one JSON object from stdin: `connections` (Airflow's JSON form by connection id, those to keep as rows)
and `pause` (whether to pause every DAG). Writes one JSON object to stdout: `kept`, the ids of rows that were
left as somebody edited them in the UI.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.dag_run import prepare_metadata
from devstack.processes import write_private

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MANAGED = ("mysql_default", "iterable_default", "customerio_default")


def main() -> int:
    """Carry out what stdin asks for."""
    wanted = json.load(sys.stdin)
    answer = sys.stdout
    # Airflow's own output belongs to the log, not into the answer.
    sys.stdout = sys.stderr
    prepare_metadata(lambda _event: None)
    from airflow.utils.session import create_session

    memory = Path(os.environ["AIRFLOW_HOME"]) / "up-connections.json"
    with create_session() as session:
        kept = [
            conn_id
            for conn_id in MANAGED
            if not _settle(session, conn_id, wanted["connections"].get(conn_id), _read(memory).get(conn_id))
        ]
        if wanted["pause"]:
            _pause_all(session)
    written = {name: _address(values) for name, values in wanted["connections"].items()}
    write_private(memory, json.dumps(written))
    json.dump({"kept": kept}, answer)
    return 0


def _settle(session: Session, conn_id: str, wanted: Mapping[str, object] | None, last: list[object] | None) -> bool:
    """Make a row what is wanted, or remove it; return False when it was edited since and is left alone."""
    from airflow.models.connection import Connection

    row = session.query(Connection).filter(Connection.conn_id == conn_id).one_or_none()
    if row is not None and [row.host, row.port] != last:
        return wanted is None
    if row is not None:
        session.delete(row)
        session.flush()
    if wanted is not None:
        new = Connection.from_json(json.dumps(wanted), conn_id=conn_id)
        new.description = "Written by make up"
        new.port = new.port or 0
        session.add(new)
    return True


def _address(wanted: Mapping[str, object]) -> list[object]:
    """Return host and port, 0 where there is none: the UI's Test button sends 0 for an empty port."""
    return [wanted["host"], wanted.get("port", 0)]


def _pause_all(session: Session) -> None:
    from airflow.models.dag import DagModel
    from sqlalchemy import update

    session.execute(update(DagModel).values(is_paused=True))


def _read(path: Path) -> dict[str, list[object]]:
    try:
        content: dict[str, list[object]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


if __name__ == "__main__":
    sys.exit(main())
