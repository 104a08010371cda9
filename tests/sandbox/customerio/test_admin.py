"""State over the admin interface: listings, filters, counts, settings, reset, and the state file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.sandbox.testing import SandboxServer

KINDS = ("people", "events", "objects", "relationships", "devices", "suppressed", "dropped")


@pytest.mark.parametrize(
    ("patch", "named"),
    [
        ({"regoin": "eu"}, "customerio.regoin is unknown; allowed: keys, region, new_keys_over_basic"),
        ({"region": "ap"}, "customerio.region: Input should be 'us' or 'eu'"),
        ({"keys": []}, "customerio.keys: Tuple should have at least 1 item"),
        ({"dedupe_window_seconds": -1}, "customerio.dedupe_window_seconds: Input should be greater than or equal to 0"),
        ([], "customerio: Input should be a valid dictionary"),
        (None, "customerio: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_setting_is_refused_and_named_and_nothing_changes(
    sandbox: Any, api: Any, patch: Any, named: str
) -> None:
    before = sandbox.settings()
    reply = api.send("PUT", "/sandbox/settings", {"customerio": patch})
    assert reply.status == 422
    assert named in reply.json["detail"]
    assert sandbox.settings() == before


def test_settings_not_named_stay_as_they_are(sandbox: Any) -> None:
    sandbox.settings(customerio={"enforce_rate": True})
    changed = sandbox.settings(customerio={"rate_per_3_seconds": 5})["customerio"]
    assert (changed["enforce_rate"], changed["rate_per_3_seconds"], changed["region"]) == (True, 5, "us")


@pytest.mark.parametrize("path", ["nothing", "nothing/count", "people/nothing"])
def test_an_unknown_kind_is_404(api: Any, path: str) -> None:
    assert api.get(f"/sandbox/customerio/{path}").status == 404


def fill(cio: Any) -> None:
    cio.identify("u1", email="ann@acme.com", plan="pro", seats=3, active=True)
    cio.identify("bob@acme.com", plan="free")
    cio.ok("identify", userId="u1", anonymousId="a1")
    cio.track("u1", "page_view", properties={"page": "pricing"}, messageId="m1")
    cio.ok("track", anonymousId="a2", event="page_view", messageId="m2")
    cio.ok("track", groupId="g", event="renewed", messageId="m3")
    cio.ok("group", groupId="g", userId="u1", traits={"name": "Acme", "relationshipAttributes": {"role": "owner"}})
    cio.ok("group", groupId="h", traits={"objectTypeId": "2"})
    cio.track("u1", "Device Created or Updated", context={"device": {"token": "t", "type": "ios"}})
    cio.track("gone", "User Suppressed")
    cio.identify("gone")
    cio.send("track", {}, strict=None)


def test_reset_empties_every_kind_and_the_counts(cio: Any, sandbox: Any) -> None:
    fill(cio)
    assert all(cio.state.count(kind) for kind in KINDS)
    sandbox.reset()
    assert [cio.state.count(kind) for kind in KINDS] == [0] * len(KINDS)
    assert not any(cio.state.stats().values())
    fill(cio)
    assert cio.state.stats()["duplicates"] == 0


def test_filters_compare_fields_also_inside_others(cio: Any) -> None:
    fill(cio)
    count = cio.state.count
    assert count("people") == 2
    assert [count("people", **{f"traits.{name}": value}) for name, value in (("plan", "pro"), ("seats", 3))] == [1, 1]
    assert [count("people", **{"traits.active": value}) for value in (True, None, False)] == [1, 1, 0]
    assert count("people", id=None) == 1
    assert count("events", event="page_view", userId="u1") == 1
    assert count("events", **{"properties.page": "pricing"}) == 1
    assert count("events", person=None) == 2
    assert count("objects", objectTypeId="2") == 1
    assert count("relationships", id="u1", objectId="g") == 1
    assert count("dropped", reason="suppressed") == 1
    assert count("people", **{"id.deeper": None}) == 2
    assert cio.state.people(email="bob@acme.com")[0]["traits"]["plan"] == "free"


def test_a_field_with_a_dot_in_its_name_is_found(cio: Any) -> None:
    cio.track("u1", "e", properties={"a.b": 1})
    assert cio.state.count("events", **{"properties.a.b": 1}) == 1


def test_every_message_is_counted_once(cio: Any) -> None:
    fill(cio)
    cio.track("u1", "page_view", messageId="m1")
    stats = cio.state.stats()
    assert stats == {
        "people": 2,
        "events": 3,
        "objects": 2,
        "relationships": 1,
        "devices": 1,
        "suppressed": 1,
        "messages": {"identify": 3, "track": 5, "group": 2},
        "event_names": {"page_view": 2, "renewed": 1},
        "acted": {"Device Created or Updated": 1, "User Suppressed": 1},
        "duplicates": 1,
        "dropped": {"suppressed": 1, "no_event": 1},
        "max_requests_in_3_seconds": 13,
        "requests_over_rate": 0,
    }


def test_requests_items_and_overlaps_are_counted_beside_those_of_iterable(cio: Any, sandbox: Any) -> None:
    cio.batch({"type": "identify", "userId": "u1"}, {"type": "track", "event": "e", "userId": "u1"})
    cio.send("identify", {})
    stats = sandbox.stats()
    assert stats["requests"] == {"POST /v1/batch": {"200": 1}, "POST /v1/identify": {"400": 1}}
    assert (stats["bulk_rows"], stats["users"], stats["events"]) == ({"POST /v1/batch": 2}, 0, 0)


def test_the_python_helper_sends_messages(sandbox: Any) -> None:
    state = sandbox.customerio
    assert state.url == f"{sandbox.url}/v1"
    assert state.post("identify", {"userId": "u1"}) == {"success": True}
    assert state.post("identify", {}, strict=False) == {"success": True}
    with pytest.raises(RuntimeError, match=r"POST /v1/identify with 400: .*userId or anonymousId is required"):
        state.post("identify", {})
    with pytest.raises(RuntimeError, match="401"):
        state.post("identify", {"userId": "u1"}, key="wrong")


def whole(sandbox: SandboxServer) -> dict[str, Any]:
    state = sandbox.customerio
    stats = state.stats()
    del stats["max_requests_in_3_seconds"]
    return {**{kind: state.records(kind) for kind in KINDS if kind != "dropped"}, "stats": stats}


def test_the_state_file_holds_everything_but_the_dropped_log(tmp_path: Path, cio: Any) -> None:
    state = tmp_path / "state"
    with SandboxServer(state_file=state) as sandbox:
        fill(type(cio)(ApiOf(sandbox), sandbox.customerio))
        sandbox.customerio.post("track", {"userId": "x", "event": "e", "messageId": "m9"})
        sandbox.customerio.post("track", {"userId": "x", "event": "User Deleted"})
        before = whole(sandbox)
        sandbox.post("/sandbox/save")
    with SandboxServer(state_file=state) as sandbox:
        assert whole(sandbox) == before
        assert sandbox.customerio.dropped() == []
        for number in ("m1", "m9"):
            sandbox.customerio.post("track", {"userId": "u1", "event": "page_view", "messageId": number})
        assert sandbox.customerio.stats()["duplicates"] == 2
        sandbox.customerio.post("identify", {"userId": "new", "anonymousId": "a2"})
        assert len({person["cio_id"] for person in sandbox.customerio.people()}) == 3
        assert sandbox.customerio.count("events", person=None) == 1


def test_what_was_only_counted_stays_counted(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with SandboxServer(state_file=state, store="counts") as sandbox:
        sandbox.customerio.post("track", {"userId": "u1", "event": "e", "messageId": "m1"})
        sandbox.post("/sandbox/save")
    with SandboxServer(state_file=state, store="counts") as sandbox:
        sandbox.customerio.post("track", {"userId": "u1", "event": "e", "messageId": "m1"})
        stats = sandbox.customerio.stats()
        assert (stats["people"], stats["events"], stats["duplicates"]) == (1, 1, 1)
        sandbox.customerio.post("track", {"userId": "u1", "event": "User Deleted"})
        assert sandbox.customerio.stats()["events"] == 0


def test_a_damaged_line_of_the_state_file_is_named(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with SandboxServer(state_file=state) as sandbox:
        sandbox.customerio.post("identify", {"userId": "u1"})
        sandbox.customerio.post("track", {"userId": "u1", "event": "e"})
        sandbox.post("/sandbox/save")
    lines = state.read_bytes().splitlines(keepends=True)
    for number, broken in ((2, b"{}\n"), (3, lines[2].replace(b'"person":1', b'"person":7')), (3, b"")):
        state.write_bytes(b"".join([*lines[: number - 1], broken, *lines[number:]]))
        with pytest.raises(ConfigurationError, match=f"is damaged at line {number}; move it away"):
            SandboxServer(state_file=state)


class ApiOf:
    """Sends to a server of its own instead of the running one."""

    def __init__(self, sandbox: SandboxServer) -> None:
        from tests.sandbox.conftest import Api

        self.send = Api(sandbox).send
