from __future__ import annotations

import pickle

import pytest

from reverse_etl import errors
from reverse_etl.errors import (
    AccountRefused,
    CallFailed,
    DestinationError,
    InvalidRow,
    ReverseEtlError,
    Throttled,
)


def all_errors() -> list[type[ReverseEtlError]]:
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    return [kind for kind in found if issubclass(kind, ReverseEtlError)]


def test_the_tree_in_the_docstring_is_the_tree_of_the_module() -> None:
    documented = {line.split("-- ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "-- " in line}
    assert documented == {kind.__name__ for kind in all_errors()} - {"ReverseEtlError"}


def test_the_docstring_marks_exactly_the_retryable_errors() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if "-- " in line]
    marked = {line.split("-- ")[1].split()[0] for line in lines if line.endswith("(retryable)")}
    assert marked == {kind.__name__ for kind in all_errors() if kind.retryable}


def test_a_refused_account_is_never_retryable() -> None:
    assert not AccountRefused.retryable


def test_a_message_holds_status_code_and_request_id() -> None:
    error = CallFailed("no luck", status=503, code="GenericError", request_id="abc")
    assert str(error) == "no luck (HTTP 503, code GenericError, request id abc)"


@pytest.mark.parametrize("kind", [Throttled, AccountRefused, DestinationError])
def test_errors_survive_the_way_between_processes(kind: type[DestinationError]) -> None:
    error = kind("no luck", status=429, code="RateLimitExceeded", request_id="abc", retry_after=3)
    error.tries = 2
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert vars(copy) == vars(error)


def test_invalid_rows_survive_the_way_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(InvalidRow("not_json", "the text is not JSON")))
    assert (copy.code, copy.detail) == ("not_json", "the text is not JSON")
