from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from http import HTTPMethod, HTTPStatus

import pendulum
import pytest

from reverse_etl.errors import SourceError
from reverse_etl.staging.statement import bindable, read_statement

WINDOW = {"window_start": 1, "window_end": 2}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", "holds no statement"),
        ("  \n-- only a comment\n/* and another */ ;\n", "holds no statement"),
        ("-- only a comment\n", "holds no statement"),
        ("SELECT 1 AS a;\nSELECT 2 AS a", "second statement, after the ';' on line 1"),
        ("SELECT 1 AS a; DELETE FROM customers;", "second statement"),
        ("DELETE FROM customers", "starts with SELECT or WITH"),
        ("SELECTED", "starts with SELECT or WITH"),
        ("SELECT\n '5%' AS a", "line 2 of the SQL file has a '%' that is not a parameter; write '%%'"),
        ("SELECT a % 2 AS a", "write '%%' for a percent sign"),
        ("SELECT %(window_start)d AS a", r"'%\(name\)s' for a parameter"),
        ("SELECT %s AS a", r"available: window_end, window_start"),
        ("SELECT\n\n%(day)s AS a", "line 3 of the SQL file uses the parameter 'day', which is not given"),
    ],
)
def test_an_unusable_file_is_refused_with_the_reason(sql: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_statement(sql, WINDOW)


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT 1 AS a;", "SELECT 1 AS a"),
        ("SELECT 1 AS a;;\n", "SELECT 1 AS a"),
        ("SELECT 1 AS a ; -- done\n", "SELECT 1 AS a"),
        ("\ufeffSELECT 1 AS a", "SELECT 1 AS a"),
        ("-- 5 % of users; really\nSELECT 1 AS a", "SELECT 1 AS a"),
        ("# 5 %\nSELECT 1 AS a", "SELECT 1 AS a"),
        ("SELECT 1 /* 5 %; */ AS a", "SELECT 1   AS a"),
        ("SELECT '-- ; # /* not a comment */' AS a", "SELECT '-- ; # /* not a comment */' AS a"),
        ("SELECT 'it\\'s; ''so''' AS a;", "SELECT 'it\\'s; ''so''' AS a"),
        ("SELECT '\\\\' AS a; -- '", "SELECT '\\\\' AS a"),
        ("SELECT `a;b` AS a", "SELECT `a;b` AS a"),
        ('SELECT ";" AS a', 'SELECT ";" AS a'),
        ("SELECT /*+ NO_INDEX_MERGE(t) */ 1 AS a", "SELECT /*+ NO_INDEX_MERGE(t) */ 1 AS a"),
        ("SELECT 1--1 AS a", "SELECT 1--1 AS a"),
        ("SELECT '5%%' AS a, %(window_end)s AS b", "SELECT '5%%' AS a, %(window_end)s AS b"),
        ("(SELECT 1 AS a) UNION (SELECT 2)", "(SELECT 1 AS a) UNION (SELECT 2)"),
        ("with x AS (SELECT 1 AS a) SELECT a FROM x", "with x AS (SELECT 1 AS a) SELECT a FROM x"),
    ],
)
def test_comments_and_the_last_semicolon_are_left_out(sql: str, text: str) -> None:
    assert read_statement(sql, WINDOW).text == text


def test_lines_are_counted_as_in_the_file() -> None:
    statement = read_statement("-- title\n/* two\nlines */\nSELECT\n    1 AS a", {})

    assert statement.first_line == 4
    assert [statement.line(number) for number in (0, 1, 2, 3)] == ["", "SELECT", "1 AS a", ""]


def test_a_datetime_without_a_time_zone_is_refused() -> None:
    with pytest.raises(SourceError, match="'window_start' is a datetime without a time zone"):
        bindable({"window_start": datetime(2026, 1, 13)})  # noqa: DTZ001 - the naive value is the case


@pytest.mark.parametrize("value", [object(), {"a": "b"}, ["a"], datetime.now])
def test_a_value_of_another_type_is_refused_by_name_and_type(value: object) -> None:
    with pytest.raises(SourceError, match=f"'day' is of the type {type(value).__name__}"):
        bindable({"day": value})


def test_subclasses_are_bound_as_the_plain_types_mysqlclient_knows() -> None:
    values = bindable(
        {
            "moment": pendulum.datetime(2026, 1, 13, 1, tz="Europe/Warsaw"),
            "day": pendulum.date(2026, 1, 13),
            "plan": HTTPMethod.GET,
            "count": HTTPStatus.OK,
            "flag": True,
        }
    )

    assert [(type(value), value) for value in values.values()] == [
        (datetime, datetime.combine(date(2026, 1, 13), time(0))),
        (date, date(2026, 1, 13)),
        (str, "GET"),
        (int, 200),
        (bool, True),
    ]


def test_an_aware_datetime_is_bound_in_utc_and_other_values_as_they_are() -> None:
    warsaw = timezone(timedelta(hours=1))

    values = bindable({"a": datetime(2026, 1, 13, 0, 30, tzinfo=warsaw), "b": date(2026, 1, 13), "c": None})

    assert values["a"] == datetime(2026, 1, 12, 23, 30, tzinfo=UTC).replace(tzinfo=None)
    assert (values["b"], values["c"]) == (date(2026, 1, 13), None)
