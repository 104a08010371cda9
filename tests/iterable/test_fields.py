"""The mapped profile fields against those of a project: which do not fit, which would be new, and asking for them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from reverse_etl.checking import Finding, Level
from reverse_etl.errors import AnswerUnreadable, AuthenticationRefused, CallFailed, ConfigurationError, InvalidRow
from reverse_etl.iterable.checks import check_project
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.iterable.fields import compare_fields
from reverse_etl.iterable.payloads import RowRenderer
from reverse_etl.mapping import Constant, Field, FieldLike, Kind
from reverse_etl.sandbox.testing import JWT_KEY, JWT_SECRET, READONLY_KEY, SandboxServer
from tests.iterable.test_client import client

KINDS = {
    "t": "text",
    "i": "integer",
    "n": "number",
    "b": "boolean",
    "at": "datetime",
    "day": "date",
}


def only(field: FieldLike, **known: str) -> Finding:
    [finding] = compare_fields(UserUpdate((field,)), KINDS, known)
    return finding


@pytest.mark.parametrize(
    ("field", "there"),
    [
        (Field("f", "t"), "long"),
        (Field("f", "t"), "boolean"),
        (Field("f", "t", "text"), "double"),
        (Field("f", "i"), "boolean"),
        (Field("f", "i"), "string"),
        (Field("f", "i", "boolean"), "long"),
        (Field("f", "n"), "date"),
        (Field("f", "b", "integer"), "boolean"),
        (Field("f", "at"), "long"),
        (Field("f", "day"), "geo_location"),
        (Constant("f", True), "string"),
        (Constant("f", 1), "string"),
        (Constant("f", 1.5), "date"),
        (Constant("f", "x"), "long"),
    ],
)
def test_a_type_that_no_value_of_the_mapping_has_is_an_error(field: FieldLike, there: str) -> None:
    finding = only(field, f=there)
    assert finding.level is Level.ERROR
    assert finding.said.startswith(f"{there} in the project, the mapping sends ")


@pytest.mark.parametrize(
    ("field", "there"), [(Field("f", "t"), "date"), (Field("f", "n", "number"), "long"), (Constant("f", 1.5), "long")]
)
def test_a_type_that_some_values_may_have_is_a_warning(field: FieldLike, there: str) -> None:
    assert only(field, f=there).level is Level.WARNING


@pytest.mark.parametrize(
    ("field", "there"),
    [
        (Field("f", "t"), "string"),
        (Field("f", "i"), "long"),
        (Field("f", "i"), "double"),
        (Field("f", "n"), "double"),
        (Field("f", "i", "boolean"), "boolean"),
        (Field("f", "at"), "date"),
        (Field("f", "day"), "date"),
        (Field("f", "day"), "string"),
        (Field("f", "t", "json"), "object"),
        (Field("f", "t", "json"), "long"),
        (Constant("f", True), "boolean"),
    ],
)
def test_a_type_that_fits_is_fine(field: FieldLike, there: str) -> None:
    assert only(field, f=there).level is Level.OK


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (Field("f", "t"), "created as string by the first value"),
        (Field("f", "n"), "created as double or long by the first value"),
        (Field("f", "t", "json"), "created by the first value"),
    ],
)
def test_a_field_the_project_does_not_have_is_a_warning(field: FieldLike, said: str) -> None:
    finding = only(field, other="string")
    assert finding.level is Level.WARNING
    assert said in finding.said
    assert "silently dropped where it takes no new fields" in finding.said
    assert "case" not in finding.said


def test_a_name_that_differs_in_case_only_is_told() -> None:
    finding = only(Field("Plan", "t"), plan="string", PLAN="string")
    assert finding.said.endswith("the project has PLAN, plan, and names that differ in case are different fields")


ROW: dict[str, Any] = {
    "email": "ada@example.com",
    "t": "text",
    "i": 1,
    "n": 1.5,
    "b": True,
    "at": datetime(2026, 1, 13, tzinfo=UTC),
}


VALUES = {"string": "x", "long": 1, "double": 1.5, "boolean": True, "date": "2026-01-13 07:30:00 +00:00"}


@pytest.mark.parametrize("column", [name for name in KINDS if name in ROW])
@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_an_error_is_refused_and_what_is_fine_is_taken(sandbox: SandboxServer, column: str, kind: Kind) -> None:
    """The sandbox is the judge, for every column, kind and type that can meet."""
    mapping = IterableDestination(email="email", user=UserUpdate(tuple(Field(f, column, kind) for f in VALUES)))
    known = {name: name for name in VALUES}
    try:
        mapping.check_kinds({**KINDS, "email": "text"})
        rendered = RowRenderer("s", ("i",), mapping)(ROW)
    except (ConfigurationError, InvalidRow):
        return  # refused before it could be compared
    for finding in compare_fields(mapping.user or UserUpdate(()), KINDS, known):
        name = finding.what.removeprefix("field ")
        sandbox.reset()
        sandbox.post("/api/users/update", {"email": "before@example.com", "dataFields": {name: VALUES[name]}})
        value = orjson.loads(rendered.calls[0].body)["dataFields"][name]
        try:
            sandbox.post("/api/users/update", {"email": "ada@example.com", "dataFields": {name: value}})
            taken = True
        except RuntimeError:
            taken = False
        assert finding.level is Level.WARNING or taken is (finding.level is Level.OK), finding


MAPPING = IterableDestination(email="email", user=UserUpdate((Field("plan", "t"), Field("age", "i"))))


async def test_a_project_tells_its_fields(sandbox: SandboxServer) -> None:
    sandbox.post("/api/users/update", {"email": "a@example.com", "dataFields": {"plan": 7, "address": {"city": "x"}}})
    async with client(sandbox.url) as opened:
        known = await opened.user_fields()
        findings = await check_project(opened, MAPPING, KINDS, uses_jwt=False)
    assert (known["plan"], known["address.city"]) == ("long", "string")
    assert [(finding.level.value, finding.what) for finding in findings] == [
        ("ok", "connection"),
        ("error", "field plan"),
        ("warning", "field age"),
    ]
    assert len(sandbox.users()) == 1


async def test_a_key_that_may_not_write_ends_the_check(sandbox: SandboxServer) -> None:
    async with client(sandbox.url, key=READONLY_KEY) as opened:
        assert "email" in await opened.user_fields()
        with pytest.raises(AuthenticationRefused):
            await check_project(opened, MAPPING, KINDS, uses_jwt=False)


async def test_a_jwt_key_is_not_asked_for_fields(sandbox: SandboxServer) -> None:
    async with client(sandbox.url, key=JWT_KEY, jwt_secret=JWT_SECRET) as opened:
        findings = await check_project(opened, MAPPING, KINDS, uses_jwt=True)
    assert [(finding.level.value, finding.what) for finding in findings] == [
        ("ok", "connection"),
        ("warning", "fields"),
    ]


async def test_a_key_that_may_write_but_not_read_is_a_warning(sandbox: SandboxServer) -> None:
    sandbox.faults([{"path": "/api/users/getFields", "kind": "status", "status": 401}])
    async with client(sandbox.url) as opened:
        findings = await check_project(opened, MAPPING, KINDS, uses_jwt=False)
    assert findings[-1].said == "not compared: the key may write, but not read the project's fields"


async def test_a_sync_of_events_alone_asks_for_no_fields(sandbox: SandboxServer) -> None:
    events = IterableDestination(email="email", event=EventTrack("seen", created_at="at"))
    async with client(sandbox.url) as opened:
        assert len(await check_project(opened, events, KINDS, uses_jwt=False)) == 1
    assert sandbox.stats()["requests_total"] == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_problem_is_tried_again(sandbox: SandboxServer, status: int) -> None:
    sandbox.faults([{"path": "/api/users/getFields", "kind": "status", "status": status, "times": 2}])
    async with client(sandbox.url) as opened:
        assert "email" in await opened.user_fields()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "status", "status": 503}, CallFailed),
        ({"kind": "status", "status": 200, "body": {"msg": "", "code": "Success"}}, AnswerUnreadable),
    ],
)
async def test_an_answer_without_fields_is_an_error(
    sandbox: SandboxServer, fault: dict[str, Any], error: type[Exception]
) -> None:
    sandbox.faults([{"path": "/api/users/getFields", **fault}])
    async with client(sandbox.url) as opened:
        with pytest.raises(error):
            await opened.user_fields()
