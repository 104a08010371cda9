"""The tables of the pages hold what the code says: settings, sentences, messages, codes, columns."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.customerio import connection, limits
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.delivery.outcomes import FAILURES, Outcome
from reverse_etl.delivery.plan import Reason
from reverse_etl.delivery.results import CALL, SCHEMA
from reverse_etl.errors import ConfigurationError
from reverse_etl.iterable.answers import FORGOTTEN
from reverse_etl.iterable.bulk_answers import LISTS
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.iterable.connection import EXTRAS, HOSTS, IterableConnection
from reverse_etl.kinds import KINDS_THAT_FIT, WITHOUT_JSON_FORM
from reverse_etl.mapping import Constant, Field, Kind
from reverse_etl.provider import get_provider_info
from reverse_etl.sync import Sync
from tests.conftest import ROOT
from tests.docs.pages import block, code, codes, read, table

PACKAGE = ROOT / "plugins/reverse_etl"
INFO: dict[str, Any] = get_provider_info()
CONNECTION, CUSTOMERIO = INFO["connection-types"]
SIGNUPS = ROOT / "docs/examples/signups/trial_signups.sql"

destination = IterableDestination(
    email="email",
    user_id="user_id",
    user=UserUpdate(
        (Field("first_name"), Field("company"), Field("newsletter_ok", column="newsletter", kind=Kind.BOOLEAN))
    ),
    event=EventTrack(name="trial_started", created_at="started_at"),
)
sync = partial(Sync, query=SIGNUPS, destination=destination)
COLUMNS = {
    "trial_id": "integer",
    "user_id": "integer",
    "email": "text",
    "first_name": "text",
    "company": "text",
    "newsletter": "integer",
    "started_at": "datetime",
}


# --- connections.md --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Platform:
    """A platform with the page that has its tables."""

    page: str
    room: str
    form: dict[str, Any]
    connection: Any
    extras: Mapping[str, type]
    hosts: Mapping[Any, str]


PLATFORMS = [
    Platform("docs/connections.md", "iterable", CONNECTION, IterableConnection, EXTRAS, HOSTS),
    Platform("docs/customerio.md", "customerio", CUSTOMERIO, CustomerIOConnection, connection.EXTRAS, limits.HOSTS),
]
each_platform = pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.room)
RANGES = [
    *[(PLATFORMS[0], name) for name in ("jwt_lifetime", "timeout", "requests_in_flight", "rate_share", "tries")],
    *[(PLATFORMS[1], name) for name in ("timeout", "requests_in_flight", "rate_share", "tries")],
]


@each_platform
def test_the_form_fields_are_those_of_the_form(platform: Platform) -> None:
    rows = table(platform.page, "form field")
    labels = {name: field["label"] for name, field in platform.form["conn-fields"].items()}
    relabeled = platform.form["ui-field-behaviour"]["relabeling"]
    assert {code(cells[1]): cells[0] for cells in rows} == {**relabeled, **labels}
    assert set(labels) == set(platform.extras)


@each_platform
def test_the_defaults_are_those_of_the_connection(platform: Platform) -> None:
    shown = {code(cells[1]): cells[2].strip("`") for cells in table(platform.page, "form field")}
    assert shown.pop("password") == "none"
    for field in dataclasses.fields(platform.connection):
        if field.name in shown:
            default = getattr(platform.connection(api_key="key"), field.name)
            number = isinstance(default, int | float)
            assert shown.pop(field.name) == (f"{default:g}" if number else default or "empty")
    assert shown == {}


@pytest.mark.parametrize(("platform", "name"), RANGES, ids=lambda value: getattr(value, "room", value))
def test_the_ranges_are_those_that_are_accepted(platform: Platform, name: str) -> None:
    (allowed,) = [cells[3] for cells in table(platform.page, "form field") if code(cells[1]) == name]
    lowest, highest = map(float, allowed.split(" to "))
    kind = platform.extras[name]
    for value in (lowest, highest):
        platform.connection(api_key="key", **{name: kind(value)})
    for value in (lowest * 0.99 if lowest < 1 else lowest - 1, highest + 1):
        with pytest.raises(ConfigurationError, match=f"{name} is .* expected"):
            platform.connection(api_key="key", **{name: kind(value)})


def test_the_settings_are_the_options_of_the_provider() -> None:
    names = {code(cells[0]) for cells in table("docs/connections.md", "setting")}
    assert names == set(INFO["config"]["reverse_etl"]["options"])
    assert {f"AIRFLOW__REVERSE_ETL__{name.upper()}" for name in names} == {
        word.split("=")[0] for word in block("settings").split() if word.startswith("AIRFLOW__")
    }


def test_the_switch_of_the_test_button_is_the_one_of_make_up() -> None:
    name, _, value = block("test-switch").removeprefix("export ").strip().partition("=")
    assert f'"{name}": "{value}"' in (ROOT / "devstack/airflow_env.py").read_text(encoding="utf-8")


def sentences(room: str) -> Iterator[str]:
    """The beginnings of the sentences of diagnosis.py, up to the first value in them."""
    tree = ast.parse((PACKAGE / room / "diagnosis.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            text = node.value.elts[1]
            first = text.values[0] if isinstance(text, ast.JoinedStr) else text
            assert isinstance(first, ast.Constant)
            yield str(first.value).strip()


@each_platform
def test_the_sentences_of_the_test_button_are_those_of_the_diagnosis(platform: Platform) -> None:
    assert sorted(code(cells[0]) for cells in table(platform.page, "sentence")) == sorted(sentences(platform.room))


@each_platform
def test_the_regions_have_their_hosts(platform: Platform) -> None:
    page = read(platform.page)
    assert all(f"`{region}` is `{host}`" in page for region, host in platform.hosts.items())


# --- write-a-sync.md -------------------------------------------------------------------------------------------


def build(written: str) -> object:
    """Evaluate what the table shows; `...` stands for the arguments the example has."""
    names = {
        "Constant": Constant,
        "Field": Field,
        "IterableDestination": IterableDestination,
        "Sync": partial(sync, name="trial_signups", key=("trial_id",)),
        "UserUpdate": UserUpdate,
    }
    return eval(written.replace(", ...)", ")"), names)


@pytest.mark.parametrize("cells", table("docs/write-a-sync.md", "written"), ids=lambda cells: cells[0])
def test_what_is_refused_when_the_dag_is_parsed_is_refused_in_these_words(cells: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        build(code(cells[0]))
    assert str(refused.value) == code(cells[1])


@pytest.mark.parametrize(
    ("gives", "change"),
    [
        ("no column `company`", None),
        ("text as `started_at`", "text"),
        ("text as `newsletter`", "text"),
        ("a BLOB as `company`", "binary"),
    ],
)
def test_what_is_refused_when_the_columns_are_known_is_refused_in_these_words(gives: str, change: str | None) -> None:
    shown = {cells[0]: code(cells[1]) for cells in table("docs/write-a-sync.md", "the query gives")}
    assert len(shown) == 4
    kinds = {name: kind for name, kind in COLUMNS.items() if name != code(gives)}
    with pytest.raises(ConfigurationError) as refused:
        sync(name="trial_signups", key=("trial_id",)).check_columns(kinds | ({code(gives): change} if change else {}))
    assert str(refused.value).startswith(shown[gives].removesuffix("..."))


def test_the_kinds_take_the_columns_the_table_says() -> None:
    shown = {code(cells[0]): cells[1] for cells in table("docs/write-a-sync.md", "kind")}
    assert shown.pop("auto") == f"all but {', '.join(WITHOUT_JSON_FORM)}"
    assert shown == {kind.value: ", ".join(fits) for kind, fits in KINDS_THAT_FIT.items()}


@pytest.mark.integration
def test_the_params_are_those_of_the_form() -> None:
    from reverse_etl.operators.params import sync_params

    params = sync_params()
    shown = {code(cells[0]): cells[1].split(",")[0].strip("`") for cells in table("docs/write-a-sync.md", "param")}
    words = {None: "empty", False: "false"}
    assert shown == {name: words.get(param.value) or str(param.value) for name, param in params.items()}


# --- results.md ------------------------------------------------------------------------------------------------


def test_the_outcomes_are_all_there_is() -> None:
    assert [code(cells[0]) for cells in table("docs/results.md", "outcome")] == [outcome.value for outcome in Outcome]
    terms = ", ".join(f"`{outcome}`" for outcome in FAILURES[:-1]) + f" or `{FAILURES[-1]}`"
    assert f"ended {terms}" in read("docs/results.md")


ARGUMENT_WITH_THE_CODE = {"InvalidRow": 0, "error_of": 3, "RowResult": 2, "CallResult": 2}


def reason_codes() -> set[str]:
    """Every reason code that stands in the package as a literal, wherever it is given to a result or an error."""
    found: set[str] = set()
    for folder in ("", "delivery", "iterable", "customerio"):
        for path in (PACKAGE / folder).glob("*.py"):
            found |= set(codes_in(path))
    found |= set(codes_in(PACKAGE / "operators/batch.py"))
    found -= {code(cells[0]) for cells in table("docs/customerio.md", "refusal")}
    return found | {code for _, code in LISTS.values() if code != FORGOTTEN} | set(Reason)


def codes_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        place = ARGUMENT_WITH_THE_CODE.get(name)
        given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        if place is not None and len(node.args) > place:
            given.append(node.args[place])
        for value in given:  # also the second part of `code or "a code of ours"`
            parts = value.values if isinstance(value, ast.BoolOp) else [value]
            yield from (str(part.value) for part in parts if isinstance(part, ast.Constant))


def test_the_inventory_of_codes_finds_what_is_there() -> None:
    assert {"key_missing", "timeout", "not_sent", "no_result", "event_disallowed", "delivered"} <= reason_codes()


def test_the_reason_codes_are_all_the_package_can_give() -> None:
    shown = [code(cells[0]) for cells in table("docs/results.md", "code")]
    assert len(shown) == len(set(shown))
    assert set(shown) == reason_codes()


def test_the_columns_are_those_of_the_parquet() -> None:
    rows = table("docs/results.md", "column")
    kinds = {field.name: "list" if field.name == "calls" else str(field.type) for field in SCHEMA}
    assert {code(cells[0]): code(cells[1]) for cells in rows} == kinds
    assert codes(rows[-1][2]) == [field.name for field in CALL]
