from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reverse_etl.customerio.config import (
    CustomerIODestination,
    DeletePerson,
    Identify,
    RemoveFromObject,
    SuppressPerson,
    Track,
)
from reverse_etl.errors import ConfigurationError
from reverse_etl.incremental import Incremental
from reverse_etl.iterable.config import (
    DeleteUser,
    EventTrack,
    IterableDestination,
    IterableRemoval,
    RemoveFromList,
    UserUpdate,
)
from reverse_etl.mapping import Constant, Field
from reverse_etl.mirror import REMOVED_AT, Mirror
from reverse_etl.sync import Sync

INACTIVE = UserUpdate((Constant("active", value=False),))
ITERABLE = IterableDestination(email="email", user=INACTIVE, event=EventTrack("seen", "seen_at"))
CUSTOMERIO = CustomerIODestination(user_id="user_id", anonymous_id="device", track=Track("seen", "seen_at"))


def sync(tmp_path: Path, query: str = "SELECT 1 AS id", **changes: Any) -> Sync:
    path = tmp_path / "members.sql"
    path.write_text(query)
    return Sync(**{"name": "members", "query": path, "key": ("id",), "destination": ITERABLE, **changes})


@pytest.mark.parametrize(
    ("removal", "share", "message"),
    [
        (None, 0.1, r"Mirror\.removal is None, expected something such as UserUpdate"),
        (SuppressPerson, 0.1, r"Mirror\.removal is <class .*SuppressPerson'>, expected something such as"),
        (INACTIVE, 10, r"Mirror\.largest_share is 10, expected 0 to 1"),
        (INACTIVE, True, r"Mirror\.largest_share is True, expected 0 to 1"),
    ],
)
def test_a_bad_mirror_is_refused_when_it_is_built(removal: Any, share: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Mirror(removal, share)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mirror": INACTIVE}, r"Sync\.mirror of members is a UserUpdate, expected Mirror\(\.\.\.\)"),
        (
            {"mirror": Mirror(INACTIVE), "incremental": Incremental("updated_at", "id", timedelta(0))},
            "has mirror and incremental; what is read in parts does not show what has left",
        ),
        (
            {"mirror": Mirror(INACTIVE), "query": "SELECT 1 AS id WHERE a < %(window_end)s"},
            r"has mirror, but members\.sql uses window_end: rows that leave the window have not left the source",
        ),
        ({"mirror": Mirror(INACTIVE), "key": (REMOVED_AT,)}, "_removed_at and _row_key are kept free"),
        (
            {"mirror": Mirror(SuppressPerson())},
            r"IterableDestination cannot remove people by SuppressPerson, expected UserUpdate\(\.\.\.\), Remove",
        ),
        (
            {"mirror": Mirror(UserUpdate((Field("plan"),)))},
            r"UserUpdate of Mirror\.removal reads the column 'plan', but of a row that has left the source only",
        ),
        (
            {"mirror": Mirror(INACTIVE), "destination": CUSTOMERIO},
            "CustomerIODestination cannot remove people by UserUpdate, expected Identify",
        ),
        (
            {
                "mirror": Mirror(DeletePerson()),
                "destination": CustomerIODestination(user_id="user_id", identify=Identify((Field("plan"),))),
            },
            r"Identify\.timestamp is not given, but with Sync\.mirror it must be",
        ),
        (
            {
                "mirror": Mirror(DeletePerson()),
                "destination": CustomerIODestination(anonymous_id="device", track=Track("seen", "seen_at")),
            },
            r"DeletePerson needs CustomerIODestination\.user_id, there is none",
        ),
    ],
)
def test_a_sync_that_cannot_mirror_is_refused_when_it_is_built(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sync(tmp_path, **changes)


def test_a_window_in_a_comment_is_no_window(tmp_path: Path) -> None:
    sync(tmp_path, "-- not by %(window_start)s\nSELECT 1 AS id", mirror=Mirror(INACTIVE))


def test_a_sync_without_mirror_removes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no mirror, so it removes nothing"):
        sync(tmp_path).removal()


@pytest.mark.parametrize(
    ("removal", "words"),
    [
        (INACTIVE, "UserUpdate (active: false)"),
        (UserUpdate((Constant("a", "b"), Constant("left", value=True))), 'UserUpdate (a: "b", left: true)'),
        (RemoveFromList(7), "RemoveFromList (list_id: 7)"),
        (RemoveFromList(7, unsubscribe_channel=True), "RemoveFromList (list_id: 7, unsubscribe_channel: true)"),
        (DeleteUser(), "DeleteUser"),
        (Identify((Constant("plan", "left"),)), 'Identify (plan: "left")'),
        (RemoveFromObject("gold"), 'RemoveFromObject (object_id: "gold")'),
        (SuppressPerson(), "SuppressPerson"),
        (DeletePerson(), "DeletePerson"),
    ],
)
def test_a_removal_is_told_in_words(removal: Any, words: str) -> None:
    assert Mirror(removal).in_words() == words


def test_a_removal_is_a_sync_of_its_own(tmp_path: Path) -> None:
    removal = sync(tmp_path, mirror=Mirror(INACTIVE), send="changed").removal()
    assert (removal.name, removal.key, removal.send, removal.mirror) == ("members__removal", ("id",), "all", None)
    assert removal.destination == IterableDestination(email="email", user=INACTIVE)


@pytest.mark.parametrize("action", [DeleteUser(), RemoveFromList(7), RemoveFromList(7, unsubscribe_channel=True)])
def test_iterable_removes_by_what_identifies_the_person(tmp_path: Path, action: Any) -> None:
    destination = IterableDestination(email="email", user_id="id", user=INACTIVE, conn_id="iterable_eu")
    removal = sync(tmp_path, destination=destination, mirror=Mirror(action)).removal()
    assert removal.destination == IterableRemoval("email", "id", "iterable_eu", action)
    with pytest.raises(ConfigurationError, match="IterableRemoval cannot remove people by"):
        replace(removal, mirror=Mirror(action))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RemoveFromList("7"), r"RemoveFromList\.list_id is '7', expected the number of a list"),
        (lambda: RemoveFromList(True), r"RemoveFromList\.list_id is True, expected the number of a list"),
        (lambda: RemoveFromList(0), r"RemoveFromList\.list_id is 0, expected the number of a list"),
        (lambda: RemoveFromList(7, 1), r"RemoveFromList\.unsubscribe_channel is 1, expected True or False"),
        (lambda: RemoveFromObject(""), r"RemoveFromObject\.object_id is '', expected a name"),
        (lambda: RemoveFromObject("g", "1"), r"RemoveFromObject\.object_type_id is '1', expected the number of a type"),
    ],
)
def test_a_bad_removal_is_refused_when_it_is_built(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (SuppressPerson(), Track("User Suppressed", REMOVED_AT, (), ("id", REMOVED_AT))),
        (DeletePerson(), Track("User Deleted", REMOVED_AT, (), ("id", REMOVED_AT))),
        (
            RemoveFromObject("pro", 2),
            Track(
                "Relationship Deleted",
                REMOVED_AT,
                (Constant("objectId", "pro"), Constant("objectTypeId", 2)),
                ("id", REMOVED_AT),
            ),
        ),
    ],
)
def test_customerio_removes_by_its_own_events(tmp_path: Path, action: Any, expected: Track) -> None:
    removal = sync(tmp_path, destination=CUSTOMERIO, mirror=Mirror(action)).removal()
    assert removal.destination == CustomerIODestination(user_id="user_id", track=expected)


def test_customerio_sets_traits_at_a_time_of_their_own(tmp_path: Path) -> None:
    traits = Identify((Constant("active", value=False),))
    removal = sync(tmp_path, destination=CUSTOMERIO, mirror=Mirror(traits)).removal()
    expected = Identify(traits.fields, timestamp=REMOVED_AT)
    assert removal.destination == CustomerIODestination(user_id="user_id", anonymous_id="device", identify=expected)


@pytest.mark.parametrize(
    ("read", "known", "removed", "reasons"),
    [
        (0, 0, 0, []),
        (0, 100, 1, ["the source is empty"]),
        (90, 100, 10, []),
        (89, 100, 11, ["11 of 100 rows are more than the share of 10.0%"]),
        (0, 1, 1, ["the source is empty", "1 of 1 rows are more than the share of 10.0%"]),
    ],
)
def test_somebody_is_asked_where_the_source_is_empty_or_many_rows_left(
    read: int, known: int, removed: int, reasons: list[str]
) -> None:
    assert Mirror(INACTIVE).reasons(read=read, known=known, removed=removed) == reasons
