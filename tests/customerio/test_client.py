"""The client against a real server."""

from __future__ import annotations

import socket

import pytest

from reverse_etl.customerio import messages
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.customerio.diagnosis import diagnose
from reverse_etl.customerio.limits import Region
from reverse_etl.errors import (
    AnswerUnreadable,
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    ConfigurationError,
    ConnectionFailed,
    DestinationError,
    InvalidRow,
    Throttled,
)
from tests.customerio.platform import KEY, Reply, Waits, Workspace, client


@pytest.mark.parametrize(
    ("reply", "kind", "tries"),
    [
        ((400, b"no"), CallRejected, 1),
        ((200, b'{"success":false}'), CallRejected, 1),
        ((401, b""), AuthenticationRefused, 1),
        ((503, b""), CallFailed, 3),
        ((200, b"<html>"), AnswerUnreadable, 3),
    ],
)
async def test_a_message_that_is_not_taken_is_an_error(
    there: Workspace, reply: Reply, kind: type[DestinationError], tries: int
) -> None:
    there.replies = [reply] * 3
    async with client(there.url) as opened:
        with pytest.raises(kind) as refused:
            await opened.identify("ada")
    assert (type(refused.value), refused.value.tries, len(there.requests)) == (kind, tries, tries)


async def test_a_retry_repeats_the_very_message(there: Workspace) -> None:
    there.replies = [(500, b""), (502, b"<html>")]
    async with client(there.url) as opened:
        assert (await opened.track("ada", "seen")).tries == 3
    assert len(set(there.bodies)) == 1


async def test_being_throttled_uses_up_no_try(there: Workspace) -> None:
    waits = Waits()
    there.replies = [(429, b"", {"Retry-After": "0"})] * 2
    async with client(there.url, tries=1, waits=waits) as opened:
        assert (await opened.track("ada", "seen")).tries == 3
    assert waits.seconds == [1, 2]


async def test_a_throttle_longer_than_the_patience_is_given_up(there: Workspace) -> None:
    there.replies = [(429, b"", {"Retry-After": "3600"})]
    async with client(there.url) as opened:
        with pytest.raises(Throttled):
            await opened.track("ada", "seen")


async def test_a_message_that_is_refused_here_is_not_sent(there: Workspace) -> None:
    async with client(there.url) as opened:
        with pytest.raises(InvalidRow):
            await opened.track("ada", "seen", {"a": float("nan")})
    assert there.requests == []


async def test_what_is_no_message_is_refused_before_anything_is_sent(there: Workspace) -> None:
    async with client(there.url) as opened:
        with pytest.raises(ConfigurationError, match="a message is a dict, expected one made by a function of"):
            await opened.batch([messages.identify("ada"), {"type": "identify", "userId": "bob"}])
        with pytest.raises(ConfigurationError, match="a message is a str"):
            await opened.send("ada")
    assert there.requests == []


async def test_a_dead_host_and_a_closed_client_are_told_apart() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        closed = client(url)
        async with closed as opened:
            with pytest.raises(ConnectionFailed, match="refuses connections"):
                await opened.identify("ada")
        with pytest.raises(RuntimeError, match="not open"):
            await closed.identify("ada")


async def test_every_method_has_its_path_and_strict_mode_is_always_on(there: Workspace) -> None:
    async with client(there.url) as opened:
        await opened.identify("ada", {"plan": "pro"})
        await opened.track("ada", "seen", {"page": "/"})
        await opened.group("g", "ada")
        await opened.page("ada", "Home")
        await opened.screen("ada", "Home")
        await opened.alias("ada", "a-1")
        await opened.batch([messages.identify("ada")])
    paths = [request.path for request in there.requests]
    assert paths == [f"/v1/{name}" for name in ("identify", "track", "group", "page", "screen", "alias", "batch")]
    assert {request.headers["X-Strict-Mode"] for request in there.requests} == {"1"}
    assert {request.content_type for request in there.requests} == {"application/json"}
    assert {request.headers["Authorization"].split()[0] for request in there.requests} == {"Basic"}


async def test_a_newer_key_goes_as_bearer_and_a_public_one_is_explained(there: Workspace) -> None:
    there.replies = [(401, b"")]
    async with client(there.url, key=" pk_eu_1\n") as opened:
        with pytest.raises(AuthenticationRefused, match="public one .* use a private one") as refused:
            await opened.identify("ada")
    assert there.requests[0].headers["Authorization"] == "Bearer pk_eu_1"
    assert "pk_eu_1" not in str(refused.value)


@pytest.mark.parametrize(
    ("reply", "works", "sentence"),
    [
        ((200, b"{}"), True, "Connected: the key may send"),
        ((400, b'{"meta":{"errors":["empty"]}}'), True, "Connected: the key may send"),
        ((429, b""), True, "Connected, but the rate limit"),
        ((401, b""), False, "Wrong key:"),
        ((404, b"<html>"), False, "Wrong host:"),
        ((500, b""), False, "The host answers, but not as Customer.io"),
        ((200, b"<html>"), False, "The host answers, but not as Customer.io"),
    ],
)
async def test_the_test_button_says_what_is_wrong_and_writes_nothing(
    there: Workspace, reply: Reply, works: bool, sentence: str
) -> None:
    there.replies = [reply]
    found, words = await diagnose(CustomerIOConnection(KEY, host=there.url))
    assert found is works
    assert words.startswith(sentence)
    assert there.messages == []


async def test_a_key_of_the_other_region_is_named(there: Workspace) -> None:
    there.replies = [(401, b"")]
    hosts = {Region.US: there.url, Region.EU: there.url}
    found, words = await diagnose(CustomerIOConnection(KEY), hosts=hosts)
    assert (found, words) == (False, "Wrong region: the key belongs to eu, the connection says us.")
