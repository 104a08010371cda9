"""Duplicates: one messageId counts once per key, within the window."""

from __future__ import annotations

from typing import Any

from reverse_etl.sandbox.customerio.api import ENDPOINTS, CustomerIoApi
from reverse_etl.sandbox.exchange import Request
from reverse_etl.sandbox.settings import Settings, checked
from tests.sandbox.customerio.conftest import basic

TRACK = {"type": "track", "event": "e", "userId": "u1", "messageId": "m1"}


def test_a_repeated_message_is_200_counted_and_has_no_effect(cio: Any) -> None:
    cio.ok("track", **TRACK)
    cio.ok("track", **TRACK)
    assert cio.batch(TRACK, TRACK | {"messageId": "m2"}, TRACK | {"messageId": "m2"}).status == 200
    assert [event["messageId"] for event in cio.state.events()] == ["m1", "m2"]
    stats = cio.state.stats()
    assert (stats["duplicates"], stats["messages"], stats["dropped"]) == (3, {"track": 2}, {})


def test_ids_are_those_of_a_key(cio: Any, auth: Any) -> None:
    cio.ok("track", **TRACK)
    cio.send("track", TRACK, authorization=auth("sk_us_sandbox"))
    cio.send("track", TRACK, authorization="Bearer sk_us_sandbox")
    assert (len(cio.state.events()), cio.state.stats()["duplicates"]) == (2, 1)


def test_what_was_refused_or_dropped_on_arrival_may_come_again_corrected(cio: Any) -> None:
    wrong = {"type": "track", "userId": "u1", "messageId": "m1"}
    assert cio.batch(wrong, TRACK | {"messageId": "m2"}).status == 400
    cio.batch(wrong, strict=None)
    assert cio.batch(TRACK, TRACK | {"messageId": "m2"}).status == 200
    assert (len(cio.state.events()), cio.state.stats()["duplicates"]) == (2, 0)


def test_messages_without_an_id_are_never_duplicates(cio: Any) -> None:
    for message_id in (None, ""):
        cio.ok("track", **{**TRACK, "messageId": message_id})
    assert len({event["messageId"] for event in cio.state.events()}) == 2


def test_a_window_of_zero_turns_it_off(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"dedupe_window_seconds": 0})
    cio.batch(TRACK, TRACK)
    assert len(cio.state.events()) == 2


def test_counting_only_still_finds_duplicates(cio: Any, sandbox: Any) -> None:
    sandbox.settings(store="counts")
    cio.identify("u2", plan="pro")
    cio.batch(TRACK, TRACK)
    stats = cio.state.stats()
    assert (stats["events"], stats["duplicates"], stats["people"]) == (1, 1, 2)
    assert cio.state.events() == []
    assert [person["traits"] for person in cio.state.people()] == [{}, {}]


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_768_300_000.0

    def __call__(self) -> float:
        return self.seconds


def test_an_id_is_new_again_after_the_window_which_repeats_do_not_prolong() -> None:
    clock = Clock()
    settings = checked(Settings, {"customerio": {"dedupe_window_seconds": 100}})
    api = CustomerIoApi(settings, now=clock)
    [track] = [endpoint for endpoint in ENDPOINTS if endpoint.kind == "track"]
    scope = {
        "method": "POST",
        "path": "/v1/track",
        "query_string": b"",
        "client": None,
        "headers": [(b"authorization", basic("sandbox-customerio-key").encode()), (b"x-strict-mode", b"1")],
    }

    def events_after(seconds: float) -> int:
        clock.seconds += seconds
        api.answer(track, Request(scope, "", b'{"event":"e","userId":"u1","messageId":"m1"}'))
        return api.state.event_count

    assert [events_after(seconds) for seconds in (0, 60, 39.9, 0.1, 99, 1)] == [1, 1, 1, 2, 2, 3]
    assert api.intake.duplicates == 3
    clock.seconds += 1000
    api.answer(track, Request(scope, "", b'{"event":"e","userId":"u1","messageId":"m2"}'))
    assert [list(seen) for seen in api.intake.seen.values()] == [["m2"]]
