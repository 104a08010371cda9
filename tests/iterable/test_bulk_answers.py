from __future__ import annotations

from typing import Any

import orjson
import pytest

from reverse_etl.delivery.destination import Call, Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.errors import (
    AnswerUnreadable,
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    DestinationError,
    Throttled,
    UserSuppressed,
)
from reverse_etl.iterable.answers import Answer
from reverse_etl.iterable.bulk_answers import BadRows, BulkAnswer, read_bulk_answer

CALLS = [
    Call("event_track", b"{}", {"email": "Ada@Example.com"}, "page_view"),
    Call("event_track", b"{}", {"userId": "Bob7"}, "page_view"),
    Call("event_track", b"{}", {"email": "eve@example.com", "userId": "eve9"}, "signed_up"),
]


def read(body: object, status: int = 200) -> BulkAnswer:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_bulk_answer(Answer(status, {"Iterable-Request-Id": "r-1"}, content), clock=lambda: 0.0)


def verdicts(**body: Any) -> list[Verdict | None]:
    return read({"successCount": 2, "failCount": 1, **body}).verdicts(CALLS)


def codes(found: list[Verdict | None]) -> list[str]:
    return [
        "open" if verdict is None else "delivered" if isinstance(verdict, Receipt) else verdict.code
        for verdict in found
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"<html></html>",
        {"successCount": 3},
        {"failCount": 0},
        {"successCount": "3", "failCount": 0},
        {"successCount": -1, "failCount": 0},
        {"msg": "", "code": "Success", "params": None},
    ],
)
def test_an_answer_without_counts_confirms_nothing(body: object) -> None:
    with pytest.raises(AnswerUnreadable):
        read(body)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "BadApiKey", AuthenticationRefused),
        (429, "RateLimitExceeded", Throttled),
        (500, "GenericError", CallFailed),
        (413, "BatchTooLarge", CallRejected),
        (400, "RequestFieldsTypesMismatched", CallRejected),
        (409, "ForgottenUserError", UserSuppressed),
    ],
)
def test_a_refusal_of_the_whole_request_is_read_as_that_of_a_single_call(
    status: int, code: str, kind: type[DestinationError]
) -> None:
    with pytest.raises(kind) as caught:
        read({"msg": "", "code": code, "params": None}, status)
    assert (type(caught.value), caught.value.code) == (kind, code)


@pytest.mark.parametrize(
    ("params", "rows"),
    [
        ({"obj.users[1].preferUserId": "Boolean value expected"}, {1}),
        ({"obj.events[0].createdAt": "x", "obj.events[17].id": "y"}, {0, 17}),
        ({"obj.users[1]": [{"msg": ["error.path.missing"], "args": []}]}, {1}),
        ({"obj.users": "x"}, set()),
        ({}, set()),
        (None, set()),
        ([], set()),
    ],
)
def test_a_bad_body_names_the_rows_that_are_bad(params: object, rows: set[int]) -> None:
    with pytest.raises(BadRows) as caught:
        read({"msg": "echo ada@example.com", "code": "BadJsonBody", "params": params}, 400)
    assert caught.value.rows == rows
    assert "ada" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("invalid", CallRejected, "invalid_identifier"),
        ("invalidData", CallRejected, "invalid_data"),
        ("forgotten", UserSuppressed, "ForgottenUserError"),
        ("notFound", CallFailed, "user_not_found"),
    ],
)
@pytest.mark.parametrize(
    ("suffix", "value", "place"),
    [
        ("Emails", "ada@example.com", 0),
        ("Emails", "ADA@EXAMPLE.COM", 0),
        ("UserIds", "Bob7", 1),
        ("Emails", "eve@example.com", 2),
        ("UserIds", "eve9", 2),
    ],
)
def test_a_row_is_found_by_either_identifier_in_every_list(
    name: str, kind: type[DestinationError], code: str, suffix: str, value: str, place: int
) -> None:
    found = verdicts(failedUpdates={f"{name}{suffix}": [value]})
    assert codes(found) == [code if number == place else "delivered" for number in range(3)]
    assert isinstance(found[place], kind)


def test_user_ids_differ_by_case() -> None:
    assert codes(verdicts(failedUpdates={"invalidUserIds": ["bob7"]})) == ["open"] * 3


def test_the_deprecated_lists_count_too() -> None:
    assert codes(verdicts(invalidEmails=["ada@example.com"])) == ["invalid_identifier", "delivered", "delivered"]


def test_a_forgotten_person_is_forgotten_whatever_other_list_holds_them() -> None:
    lists = {"invalidEmails": ["ada@example.com"], "forgottenEmails": ["ada@example.com"]}
    assert codes(verdicts(failedUpdates=lists))[0] == "ForgottenUserError"


def test_events_of_a_disallowed_name_are_rejected_whether_counted_or_not() -> None:
    for counts in ({"successCount": 2, "failCount": 1}, {"successCount": 3, "failCount": 0}):
        found = read({**counts, "disallowedEventNames": ["signed_up"]}).verdicts(CALLS)
        assert codes(found) == ["delivered", "delivered", "event_disallowed"]


@pytest.mark.parametrize(
    "body",
    [
        {"successCount": 2, "failCount": 1},
        {"successCount": 1, "failCount": 2, "failedUpdates": {"invalidEmails": ["ada@example.com"]}},
        {"successCount": 2, "failCount": 1, "failedUpdates": {"conflictEmails": ["somebody.else@example.com"]}},
        {"successCount": 2, "failCount": 0},
        {"successCount": 4, "failCount": 0},
    ],
)
def test_what_the_lists_do_not_explain_stays_open(body: dict[str, Any]) -> None:
    found = read(body).verdicts(CALLS)
    assert "open" in codes(found)
    assert "delivered" not in codes(found)


@pytest.mark.parametrize("lists", [None, [], "x", {"invalidEmails": None}, {"invalidEmails": [None, 5, {}]}])
def test_lists_of_another_shape_are_no_lists(lists: object) -> None:
    assert codes(read({"successCount": 3, "failCount": 0, "failedUpdates": lists}).verdicts(CALLS)) == ["delivered"] * 3


@pytest.mark.parametrize("lists", [{"invalidEmails": [""]}, {"invalidUserIds": [""]}, {"forgottenUserIds": [""]}])
def test_an_empty_name_stands_for_no_row(lists: dict[str, list[str]]) -> None:
    assert codes(verdicts(failedUpdates=lists)) == ["open"] * 3


@pytest.mark.parametrize(
    ("failed", "lists"),
    [
        (0, {"invalidEmails": ["ada@example.com"]}),
        (1, {"invalidEmails": ["ada@example.com"], "notFoundUserIds": ["Bob7"]}),
        (1, {"invalidEmails": ["ada@example.com", "eve@example.com"], "invalidUserIds": ["Bob7"]}),
    ],
)
def test_nothing_is_believed_of_an_answer_that_names_more_rows_than_it_counts(
    failed: int, lists: dict[str, list[str]]
) -> None:
    answer = read({"successCount": 3 - failed, "failCount": failed, "failedUpdates": lists})
    assert codes(answer.verdicts(CALLS)) == ["open"] * 3


@pytest.mark.parametrize("lists", [{"conflictEmails": ["ada@example.com"]}, {"conflictUserIds": ["Bob7", "nobody"]}])
@pytest.mark.parametrize("failed", [0, 1, 2])
def test_a_conflict_leaves_open_which_row_was_refused(lists: dict[str, list[str]], failed: int) -> None:
    """The lists hold the identifier in the way: ada's row may be applied, and the one refused be eve's."""
    answer = read({"successCount": 3 - failed, "failCount": failed, "failedUpdates": lists})
    assert codes(answer.verdicts(CALLS)) == ["open"] * 3


def test_a_row_in_another_list_is_refused_beside_a_conflict() -> None:
    lists = {"conflictEmails": ["eve@example.com"], "forgottenEmails": ["ada@example.com"]}
    found = read({"successCount": 1, "failCount": 2, "failedUpdates": lists}).verdicts(CALLS)
    assert codes(found) == ["ForgottenUserError", "open", "open"]


def test_failures_between_those_with_and_without_disallowed_events_leave_the_others_open() -> None:
    found = read({"successCount": 2, "failCount": 1, "disallowedEventNames": ["page_view"]}).verdicts(CALLS)
    assert codes(found) == ["event_disallowed", "event_disallowed", "open"]


def test_dropped_fields_are_told() -> None:
    assert read({"successCount": 3, "failCount": 0, "filteredOutFields": ["new"]}).dropped_fields == {"new"}
