"""Which rows somebody was asked about in a run, kept beside the batches of the rows to be removed.

A run can ask about one set of rows only: Airflow 3.3 keeps the text of a question whose task is cleared, and shows it
again, whatever the task then asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reverse_etl.errors import NotApproved, StagingError

if TYPE_CHECKING:
    from reverse_etl.staging.files import StagingPath

ASKED = "asked.txt"


def note_question(folder: StagingPath, digest: str) -> None:
    """Note that somebody is asked about the rows `digest` stands for.

    Raises NotApproved where the run has asked about others, and StagingError.
    """
    from reverse_etl.staging.files import write_atomically

    asked = _asked(folder)
    if asked is None:
        with write_atomically(folder / ASKED) as handle:
            handle.write(digest.encode())
    elif asked != digest:
        raise _other_rows()


def check_question(folder: StagingPath, digest: str) -> None:
    """Raise NotApproved unless the rows `digest` stands for are those somebody was asked about; or StagingError."""
    if _asked(folder) != digest:
        raise _other_rows()


def _asked(folder: StagingPath) -> str | None:
    path = folder / ASKED
    try:
        return bytes(path.fs.cat_file(path.path)).decode() if path.fs.exists(path.path) else None
    except OSError as error:
        raise StagingError(
            f"{path}, which says what was asked, cannot be read ({type(error).__name__}); nothing is removed: "
            "check its storage"
        ) from None


def _other_rows() -> NotApproved:
    return NotApproved(
        "this run has asked about other rows than have left the source by now, and Airflow would show that question "
        "again: nothing is removed; start a new run of the DAG, which asks about these"
    )
