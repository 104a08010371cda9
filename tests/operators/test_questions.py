"""A run asks about one set of rows only, and an answer is about no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from reverse_etl.errors import NotApproved, StagingError
from reverse_etl.operators.questions import ASKED, check_question, note_question
from reverse_etl.staging.files import StagingPath


@pytest.fixture
def folder(tmp_path: Path) -> StagingPath:
    return UPath(tmp_path / "removed")


def test_without_a_question_there_is_no_answer_about_any_rows(folder: StagingPath) -> None:
    with pytest.raises(NotApproved, match="start a new run"):
        check_question(folder, "some")


def test_the_same_rows_may_be_asked_about_again_and_others_may_not(folder: StagingPath) -> None:
    note_question(folder, "some")
    note_question(folder, "some")
    check_question(folder, "some")
    for ask in (note_question, check_question):
        with pytest.raises(NotApproved, match="about other rows"):
            ask(folder, "others")
    check_question(folder, "some")


def test_a_question_that_cannot_be_read_removes_nothing_until_it_can(folder: StagingPath) -> None:
    (folder / ASKED).mkdir(parents=True)
    for ask in (note_question, check_question):
        with pytest.raises(StagingError, match="cannot be read"):
            ask(folder, "some")
