from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from reverse_etl.errors import StagingError
from reverse_etl.staging.files import StagingPath, remove_matching, write_atomically


def names(folder: StagingPath) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(target: StagingPath, content: bytes) -> None:
    with write_atomically(target) as handle:
        handle.write(content)


def fail_half_way(target: StagingPath) -> None:
    with write_atomically(target) as handle:
        handle.write(b"half")
        raise KeyboardInterrupt


def test_a_failure_leaves_nothing(any_folder: StagingPath) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail_half_way(any_folder / "rows.csv")

    assert names(any_folder) == []


def test_a_failure_leaves_the_earlier_file_as_it_was(any_folder: StagingPath) -> None:
    write(any_folder / "rows.csv", b"whole")

    with pytest.raises(KeyboardInterrupt):
        fail_half_way(any_folder / "rows.csv")

    assert names(any_folder) == ["rows.csv"]
    assert (any_folder / "rows.csv").read_bytes() == b"whole"


def test_the_name_appears_only_with_the_whole_file(any_folder: StagingPath) -> None:
    with write_atomically(any_folder / "rows.csv") as handle:
        handle.write(b"half")
        assert "rows.csv" not in names(any_folder)

    assert names(any_folder) == ["rows.csv"]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / ".rows.csv.mine.partial").symlink_to("/dev/full")

    with (
        pytest.raises(StagingError, match="rows.csv was not written: no space is left on its storage; free some"),
        write_atomically(UPath(tmp_path / "rows.csv"), mark="mine") as handle,
    ):
        handle.write(b"x" * 100_000)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(
        StagingError, match="was not written .Not a directory.; check that the folder exists|File exists"
    ):
        write(UPath(tmp_path / "file" / "run" / "rows.csv"), b"x")


def test_leftovers_that_cannot_be_removed_are_named(tmp_path: Path) -> None:
    (tmp_path / "batch-1").mkdir()

    with pytest.raises(StagingError, match="files of an earlier try cannot be removed from"):
        remove_matching(UPath(tmp_path), ("batch-*",))


def test_only_matching_and_partial_files_are_removed(any_folder: StagingPath) -> None:
    for name in ("batch-1", ".batch-2.1a2b.partial", "other", ".other.1a2b.partial"):
        write(any_folder / name, b"x")

    remove_matching(any_folder, ("batch-*",))

    assert names(any_folder) == [".other.1a2b.partial", "other"]


def test_a_folder_that_does_not_exist_has_nothing_to_remove(any_folder: StagingPath) -> None:
    remove_matching(any_folder, ("batch-*",))

    assert not any_folder.exists()


def test_two_writers_of_one_target_do_not_mix(tmp_path: Path) -> None:
    target = UPath(tmp_path / "rows.csv")
    with write_atomically(target) as one, write_atomically(target) as other:
        one.write(b"1" * 100)
        other.write(b"2" * 100)
    assert target.read_bytes() in (b"1" * 100, b"2" * 100)
    assert names(UPath(tmp_path)) == ["rows.csv"]
