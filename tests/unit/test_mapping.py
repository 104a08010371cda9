from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from reverse_etl.errors import ConfigurationError, InvalidRow
from reverse_etl.mapping import Constant, Field, FieldRenderer, Kind, as_number, check_fields, columns_of, utc_text

SECRET = "ada@example.com"


def render(field: Field, value: object) -> object:
    return FieldRenderer([field], datetime.isoformat, keep_nulls=True)({"x": value})["x"]


@pytest.mark.parametrize(
    ("kind", "value", "code"),
    [
        (Kind.AUTO, math.nan, "not_finite"),
        (Kind.AUTO, math.inf, "not_finite"),
        (Kind.AUTO, Decimal("NaN"), "not_finite"),
        (Kind.AUTO, b"bytes", "unsupported_type"),
        (Kind.AUTO, timedelta(hours=1), "unsupported_type"),
        (Kind.AUTO, "half a pair \ud800", "not_unicode"),
        (Kind.AUTO, 2**63, "number_too_large"),
        (Kind.AUTO, datetime(2026, 1, 13), "naive_datetime"),  # noqa: DTZ001 - naive on purpose
        (Kind.DATETIME, "2026-01-13", "not_a_datetime"),
        (Kind.DATETIME, date(2026, 1, 13), "not_a_datetime"),
        (Kind.BOOLEAN, 2, "not_a_boolean"),
        (Kind.BOOLEAN, "true", "not_a_boolean"),
        (Kind.INTEGER, 1.0, "not_an_integer"),
        (Kind.INTEGER, Decimal("1.5"), "not_an_integer"),
        (Kind.INTEGER, Decimal("Infinity"), "not_an_integer"),
        (Kind.INTEGER, True, "not_an_integer"),
        (Kind.NUMBER, "1", "not_a_number"),
        (Kind.TEXT, True, "not_text"),
        (Kind.TEXT, b"x", "not_text"),
        (Kind.JSON, "{broken", "not_json"),
        (Kind.JSON, str(2**64), "number_too_large"),
        (Kind.JSON, str(-(2**63) - 1), "number_too_large"),
        (Kind.JSON, f'{{"a": [1, {{"b": {2**64}}}]}}', "number_too_large"),
        (Kind.JSON, "9" * 300, "number_too_large"),
        (Kind.JSON, f"{'[' * 1000}{2**64}{']' * 1000}", "number_too_large"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_reason(kind: Kind, value: object, code: str) -> None:
    with pytest.raises(InvalidRow) as caught:
        render(Field("x", kind=kind), value)
    assert caught.value.code == code
    assert "'x'" in str(caught.value)


@pytest.mark.parametrize("kind", [Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN, Kind.DATETIME, Kind.JSON])
def test_a_refusal_never_repeats_the_value(kind: Kind) -> None:
    with pytest.raises(InvalidRow) as caught:
        render(Field("x", kind=kind), SECRET)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Kind.AUTO, None, None),
        (Kind.AUTO, "", ""),
        (Kind.AUTO, "Zoë 渡辺 🎉", "Zoë 渡辺 🎉"),
        (Kind.AUTO, True, True),
        (Kind.AUTO, -(2**63) + 1, -(2**63) + 1),
        (Kind.AUTO, 5.0, 5.0),
        (Kind.AUTO, Decimal("5"), 5),
        (Kind.AUTO, Decimal("5.00"), 5.0),
        (Kind.AUTO, datetime(2026, 1, 13, 8, tzinfo=UTC), "2026-01-13T08:00:00+00:00"),
        (Kind.AUTO, date(2026, 1, 13), "2026-01-13"),
        (Kind.BOOLEAN, 1, True),
        (Kind.BOOLEAN, 0, False),
        (Kind.TEXT, 42, "42"),
        (Kind.INTEGER, Decimal("42"), 42),
        (Kind.NUMBER, 42, 42),
        (Kind.JSON, '{"a": [1, null]}', {"a": [1, None]}),
        (Kind.JSON, f"[{2**63}, {2**64 - 1}, {-(2**63)}]", [2**63, 2**64 - 1, -(2**63)]),
        (Kind.JSON, "[0.12345678901234567890, 1E30, 18446744073709551616.0]", [0.12345678901234568, 1e30, 2.0**64]),
        (Kind.JSON, f'["{2**64}", "\\"{2**64}"]', [f"{2**64}", f'"{2**64}']),
    ],
)
def test_a_value_keeps_its_meaning(kind: Kind, value: object, expected: object) -> None:
    rendered = render(Field("x", kind=kind), value)
    assert rendered == expected
    assert type(rendered) is type(expected)


def test_a_decimal_column_has_one_type_whatever_its_value() -> None:
    rendered = [render(Field("x"), Decimal(text)) for text in ("5.00", "5.50", "0.00")]
    assert {type(value) for value in rendered} == {float}


@pytest.mark.parametrize(("keep_nulls", "expected"), [(True, {"x": None, "c": 1}), (False, {"c": 1})])
def test_null_is_sent_or_left_out(keep_nulls: bool, expected: dict[str, object]) -> None:
    renderer = FieldRenderer([Field("x"), Constant("c", 1)], datetime.isoformat, keep_nulls=keep_nulls)
    assert renderer({"x": None}) == expected


def test_a_field_may_have_another_name_than_its_column() -> None:
    fields = [Field("timestamp", column="event_time"), Field("page"), Constant("seen", True)]
    assert columns_of(fields) == ("event_time", "page")


@pytest.mark.parametrize("name", ["", " page", "page "])
def test_a_name_with_blanks_around_it_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Field\.name"):
        Field(name)


def test_an_unknown_kind_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ConfigurationError, match="expected one of auto, text, integer, number, boolean"):
        Field("x", kind="int")  # type: ignore[arg-type] # what a user may write


@pytest.mark.parametrize("value", [None, [], math.nan, 2**64, "\ud800"])
def test_a_constant_without_json_form_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="Constant 'c'"):
        Constant("c", value)  # type: ignore[arg-type] # what a user may write


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([Field("page"), Constant("page", "x")], "names 'page' twice"),
        ([Field("userId")], "names 'userId', which the destination keeps"),
        (["page"], r"holds a str, expected Field\(...\) or Constant"),
    ],
)
def test_fields_that_clash_are_refused(fields: list[object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_fields("UserUpdate.fields", fields, {"userId"})  # type: ignore[arg-type] # what a user may write


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (Decimal("sNaN"), "not_finite"),
        (Decimal("1E+400"), "number_too_large"),
        (Decimal("1E+999999"), "number_too_large"),
        (10**400, "number_too_large"),
    ],
    ids=["signalling NaN", "decimal beyond a float", "exponent of a million", "integer beyond a float"],
)
def test_numbers_that_no_float_can_hold_are_refused(value: object, code: str) -> None:
    with pytest.raises(InvalidRow) as refusal:
        as_number(value)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 13, 8, 30, 15, tzinfo=UTC),
        datetime(2026, 1, 13, 8, 30, 15, 999_999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(999, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 0, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
        datetime(2026, 3, 29, 3, 0, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    ],
    ids=str,
)
def test_moments_are_written_in_utc_to_the_second(moment: datetime) -> None:
    assert utc_text(moment) == moment.astimezone(UTC).isoformat()[:19]
    assert utc_text(moment, " ") == moment.astimezone(UTC).isoformat(" ")[:19]


def test_a_moment_outside_the_calendar_in_utc_is_an_overflow() -> None:
    with pytest.raises(OverflowError):
        utc_text(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
