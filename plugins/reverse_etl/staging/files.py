"""Files on any file system that universal_pathlib knows: local folders, `s3://`, `memory://` and others."""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TypeAlias

from upath import UPath
from upath.extensions import ProxyUPath

from reverse_etl.errors import StagingError

StagingPath: TypeAlias = UPath | ProxyUPath
"""A folder or file of the staging room; Airflow's `ObjectStoragePath` is a `ProxyUPath`.

Files are opened through `path.fs`, which carries the credentials, and not through `path.open`: Airflow's
version of that reports a lineage asset at every write, under the temporary name.
"""

_FULL = {errno.ENOSPC: "no space is left", errno.EDQUOT: "the disk quota is used up"}
_PARTIAL = ".partial"


@contextmanager
def write_atomically(target: StagingPath, *, mark: str = "") -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under the name of `target` only when it is complete.

    The bytes go to a hidden file beside it, which is renamed at the end (copied and deleted where the storage
    cannot rename) and removed after a failure. Missing folders are created.

    Raises StagingError when the storage refuses; other exceptions of the block pass through.
    """
    temporary = target.with_name(f".{target.name}.{mark or secrets.token_hex(4)}{_PARTIAL}")
    try:
        target.fs.makedirs(target.parent.path, exist_ok=True)
        with target.fs.open(temporary.path, "wb") as handle:
            yield handle
        target.fs.mv(temporary.path, target.path)
    except OSError as error:
        _discard(temporary)
        raise StagingError(_why_not_written(target, error)) from None
    except BaseException:
        _discard(temporary)
        raise


def copy_file(source: StagingPath, target: StagingPath) -> None:
    """Copy a file, atomically as `write_atomically` does; raises StagingError."""
    with write_atomically(target) as written, source.fs.open(source.path, "rb") as read:
        shutil.copyfileobj(read, written)


def remove_matching(folder: StagingPath, patterns: tuple[str, ...]) -> None:
    """Remove the files of `folder` that match one of the patterns, and the partial files of a killed writer.

    Raises StagingError when a file cannot be removed. A folder that does not exist has nothing to remove.
    """
    wanted = [pattern for name in patterns for pattern in (name, f".{name}.*{_PARTIAL}")]
    try:
        for pattern in wanted:
            for path in folder.fs.glob(f"{folder.path.rstrip('/')}/{pattern}"):
                folder.fs.rm_file(path)
    except OSError as error:
        raise StagingError(
            f"the files of an earlier try cannot be removed from {folder} ({_reason(error)}); "
            "remove the folder by hand or correct its permissions"
        ) from None


def _discard(path: StagingPath) -> None:
    try:
        path.fs.rm_file(path.path)
    except OSError:
        return  # never created, or as unreachable as the file that could not be written


def _why_not_written(target: StagingPath, error: OSError) -> str:
    if full := _FULL.get(error.errno or 0):
        return f"{target} was not written: {full} on its storage; free some or choose another path, then retry"
    return f"{target} was not written ({_reason(error)}); check that the folder exists and may be written to"


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
