"""The marker that tells later batches of a run that the platform refused the account."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from upath import UPath
from upath.extensions import ProxyUPath

from reverse_etl.errors import AuthenticationRefused, StagingError
from reverse_etl.operators.batch import Refusals
from reverse_etl.staging.files import StagingPath

pytestmark = pytest.mark.integration

REFUSED = AuthenticationRefused("no", status=401, code="BadApiKey", request_id="r-1")


@pytest.fixture(params=["local", "memory", "proxy as in Airflow"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> StagingPath:
    if request.param == "local":
        return UPath(tmp_path / "run")
    remote = UPath(f"memory://{tmp_path.name}/run")
    return remote if request.param == "memory" else ProxyUPath(remote)


def test_without_a_refusal_there_is_none(folder: StagingPath) -> None:
    assert Refusals(folder, 0).earlier() is None


def test_a_refusal_is_known_to_later_batches_until_somebody_clears_the_run(folder: StagingPath) -> None:
    Refusals(folder, 0).remember(REFUSED)
    known = Refusals(folder, 0).earlier()
    assert known is not None
    assert (known.status, known.code, known.request_id) == (401, "BadApiKey", "r-1")
    assert Refusals(folder, 1).earlier() is None


@pytest.mark.parametrize("content", [b"", b'{"status": 4', b"[]", b"null", b'{"status": 401}', b"\xff\xfe"])
def test_a_garbled_marker_is_a_refusal_all_the_same(folder: StagingPath, content: bytes) -> None:
    Refusals(folder, 0).remember(REFUSED)
    [marker] = folder.fs.ls(folder.path, detail=False)
    folder.fs.pipe_file(marker, content)
    known = Refusals(folder, 0).earlier()
    assert known is not None
    assert (known.status, known.code) == (None, "unknown")


def test_who_reads_while_it_is_written_sees_nothing_or_all_of_it(tmp_path: Path) -> None:
    folder = UPath(tmp_path)
    done = threading.Event()

    def write() -> None:
        for number in range(400):
            Refusals(folder, number).remember(REFUSED)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    number = 0
    while number < 400 and not (done.is_set() and not (tmp_path / f"account-refused-{number}.json").exists()):
        known = Refusals(folder, number).earlier()
        if known is not None:
            assert known.status == 401
            number += 1
    writer.join()
    assert number == 400


def test_a_marker_that_cannot_be_written_is_an_error_of_the_storage(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file in the way")
    with pytest.raises(StagingError, match="account-refused-0"):
        Refusals(UPath(tmp_path / "run"), 0).remember(REFUSED)
