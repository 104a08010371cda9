"""Where everything lives in the project folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devstack.errors import DevstackError


@dataclass(frozen=True)
class Layout:
    """The project folder and what the local stack keeps in its `.local` folder."""

    root: Path

    @classmethod
    def here(cls) -> Layout:
        """Return the layout of the working folder; raise DevstackError when it is not a project folder."""
        root = Path.cwd()
        if not (root / "dags").is_dir():
            raise DevstackError(f"{root} has no dags folder: run make in the project's own folder.")
        return cls(root)

    @property
    def local(self) -> Path:
        """Everything a run makes on this machine."""
        return self.root / ".local"

    @property
    def dags(self) -> Path:
        """The DAG files."""
        return self.root / "dags"

    @property
    def sql(self) -> Path:
        """Holds schema.sql and seed.sql."""
        return self.root / "include" / "sql"

    @property
    def database(self) -> Path:
        """The private database server's folder."""
        return self.local / "database"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME of make run and make up."""
        return self.local / "airflow"

    @property
    def output(self) -> Path:
        """Where runs write their CSV and JSON results."""
        return self.local / "output"

    @property
    def staging(self) -> Path:
        """Where runs keep their batches."""
        return self.local / "staging"

    @property
    def logs(self) -> Path:
        """Logs of everything the local stack starts."""
        return self.local / "logs"

    def create(self) -> None:
        """Make the folders; raise DevstackError when the project folder cannot be written."""
        try:
            self.local.mkdir(exist_ok=True)
            # Results, logs and passwords are nobody else's business.
            self.local.chmod(0o700)
            for folder in (self.logs, self.output, self.staging, self.airflow_home):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DevstackError(f"Cannot write in {self.local}: {error.strerror}.") from error

    def short(self, path: Path | str) -> str:
        """Return a path as the user would type it in the project folder."""
        text = str(path).removeprefix("file://")
        return text.removeprefix(f"{self.root}/")
