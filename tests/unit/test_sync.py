from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.mapping import Constant, Field
from reverse_etl.sync import Sync

KINDS = {"id": "integer", "email": "text", "seen_at": "datetime", "photo": "binary", "candidate": "integer"}


def sync(tmp_path: Path, **changes: Any) -> Sync:
    query = tmp_path / "views.sql"
    query.write_text("SELECT 1 AS id")
    destination = IterableDestination(email="email", user=UserUpdate((Field("candidate", kind="boolean"),)))
    return Sync(**{"name": "views", "query": query, "key": ("id",), "destination": destination, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Page Views"}, r"Sync\.name is 'Page Views'"),
        ({"name": ""}, r"Sync\.name is ''"),
        ({"query": Path("nowhere.sql")}, r"Sync\.query of views: there is no file nowhere\.sql"),
        ({"query": None}, r"Sync\.query of views is None, expected the path"),
        ({"key": None}, r"Sync\.key of views is a NoneType, expected a tuple"),
        ({"failure_share": "5%"}, r"Sync\.failure_share of views is '5%', expected 0 to 1"),
        ({"destination": IterableDestination}, r"Sync\.destination of views is a type"),
        ({"key": ()}, r"Sync\.key of views is \(\), expected one or more column names"),
        ({"key": ("id", "id")}, r"names a column twice"),
        ({"failure_share": 5}, r"Sync\.failure_share of views is 5, expected 0 to 1"),
        ({"concurrent": "allow"}, r"Sync\.concurrent of views is 'allow', expected wait or refuse"),
        ({"send": "new"}, r"Sync\.send of views is 'new', expected all or changed"),
        ({"send": None}, r"Sync\.send of views is None"),
        ({"source_conn_id": ""}, r"Sync\.source_conn_id of views is empty"),
        ({"destination": "iterable"}, r"Sync\.destination of views is a str"),
    ],
)
def test_a_bad_sync_is_refused_when_it_is_built(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sync(tmp_path, **changes)


def test_a_column_the_query_does_not_give_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"views\.sql gives no column candidate, id, which sync views needs"):
        sync(tmp_path).check_columns({"email": "text"})


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        (
            IterableDestination(email="seen_at", user=UserUpdate((Constant("x", 1),))),
            "column seen_at holds datetime, but an identifier needs text or integer",
        ),
        (
            IterableDestination(email="email", event=EventTrack("seen", created_at="email")),
            r"column email holds text, but EventTrack\.created_at needs datetime",
        ),
        (
            IterableDestination(email="email", user=UserUpdate((Field("photo"),))),
            "column photo for field 'photo' holds binary, which has no form in JSON",
        ),
        (
            IterableDestination(email="email", user=UserUpdate((Field("email_ok", "email", "boolean"),))),
            r"column email holds text, but field 'email_ok' \(boolean\) needs integer or boolean",
        ),
    ],
)
def test_a_column_of_a_type_that_does_not_fit_is_named(
    tmp_path: Path, destination: IterableDestination, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sync(tmp_path, destination=destination).check_columns(KINDS)


def test_a_key_of_one_column_may_be_written_as_text(tmp_path: Path) -> None:
    assert sync(tmp_path, key="id").key == ("id",)


def test_a_good_sync_fits_its_query(tmp_path: Path) -> None:
    sync(tmp_path).check_columns(KINDS)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: IterableDestination(user=UserUpdate((Field("a"),))), "names no person"),
        (lambda: IterableDestination(email="email"), "sends nothing"),
        (lambda: IterableDestination(email="email", user=Field("a")), r"user is a Field, expected UserUpdate\(...\)"),
        (lambda: IterableDestination(email="e", user=UserUpdate((Field("a"),)), conn_id=""), "conn_id is empty"),
        (lambda: UserUpdate(Field("a")), r"UserUpdate\.fields is a Field, expected a tuple"),
        (lambda: UserUpdate(None), r"UserUpdate\.fields is a NoneType"),
        (lambda: UserUpdate((Field("a"),), merge_nested_objects="no"), "merge_nested_objects is 'no'"),
        (lambda: UserUpdate((Field("itblInternal.emailDomain"),)), "which the destination keeps"),
        (lambda: EventTrack("e", created_at="t", id_columns="page_view_id"), r"EventTrack\.id_columns is a str"),
        (lambda: IterableDestination(email=5, user=UserUpdate((Field("a"),))), r"IterableDestination\.email is 5"),
        (lambda: IterableDestination(email="e", user=UserUpdate((Field("a"),)), calls="batch"), "calls is 'batch'"),
        (lambda: Field("a", column=5), r"Field\.column of 'a' is 5"),
        (lambda: UserUpdate(()), r"UserUpdate\.fields is empty"),
        (lambda: UserUpdate((Field("emailListIds"),)), "names 'emailListIds', which the destination keeps"),
        (lambda: EventTrack("page_view ", created_at="t"), r"EventTrack\.name is 'page_view '"),
        (lambda: EventTrack("page_view", created_at=""), r"EventTrack\.created_at is ''"),
        (lambda: EventTrack("page_view", created_at="t", fields=(Field("createdAt"),)), "names 'createdAt'"),
    ],
)
def test_a_bad_destination_is_refused_when_it_is_built(build: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()
