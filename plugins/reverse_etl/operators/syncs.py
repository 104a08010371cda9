"""The syncs of an Airflow, found in its DAG files: a sync is named nowhere else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from reverse_etl.errors import ConfigurationError
from reverse_etl.operators.base import SyncOperator

if TYPE_CHECKING:
    from reverse_etl.sync import Sync

PACKAGE = b"reverse_etl"


@dataclass
class Syncs:
    """The syncs found, by name; `unread` are the DAG files that could not be imported.

    `window_days` are the days of rows the DAG of a sync looks at, unless a run says otherwise.
    """

    found: dict[str, list[Sync]] = field(default_factory=dict)
    window_days: dict[str, int] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def one(self, name: str) -> Sync:
        """Return the sync of that name; raise ConfigurationError when there is none, or more than one."""
        self.check(name)
        syncs = self.found[name]
        if len(syncs) > 1:
            raise ConfigurationError(
                f"{len(syncs)} different syncs are named {name!r} ({', '.join(str(sync.query) for sync in syncs)}); "
                "give each its own name"
            )
        return syncs[0]

    def check(self, name: str, *, former: Collection[str] = ()) -> None:
        """Raise ConfigurationError, with the names there are, for one no DAG has and that is not a `former` one."""
        if name in self.found or name in former:
            return
        known = ", ".join(sorted({*self.found, *former})) or "none"
        unread = f"; {', '.join(self.unread)} could not be imported" if self.unread else ""
        raise ConfigurationError(f"no DAG has a sync named {name!r}; there are {known}{unread}")


def find_syncs(folder: Path) -> Syncs:
    """Import the DAG files of `folder` that name this package and collect the syncs of their tasks."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.dag_processing.importers import get_importer_registry

    bag = DagBag(dag_folder=folder, collect_dags=False)
    syncs = Syncs()
    for path in sorted(get_importer_registry().list_dag_files(folder)):
        if PACKAGE not in Path(path).read_bytes():
            continue
        for dag in bag.process_file(path):  # type: ignore[no-untyped-call]  # Airflow's own
            for task in dag.tasks:
                if isinstance(task, SyncOperator):
                    _add(syncs.found, task.sync)
                    if "window_days" in dag.params:
                        syncs.window_days[task.sync.name] = int(dag.params["window_days"])
    syncs.unread = sorted(bag.import_errors)
    return syncs


def find_sync(name: str, folder: Path) -> Sync:
    """Return the sync of that name; raise ConfigurationError when there is none, or more than one."""
    return find_syncs(folder).one(name)


def dags_folder(context: Mapping[str, Any] | None = None) -> Path:
    """Return where the DAG files are: the bundle of the task's own DAG, else Airflow's DAGs folder."""
    bundle = getattr(context["ti"], "bundle_instance", None) if context else None
    return Path(bundle.path if bundle is not None else conf.get("core", "dags_folder"))


def _add(found: dict[str, list[Sync]], sync: Sync) -> None:
    known = found.setdefault(sync.name, [])
    if sync not in known:
        known.append(sync)
