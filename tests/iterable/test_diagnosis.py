from __future__ import annotations

import pytest

from reverse_etl.iterable.connection import IterableConnection, Region
from reverse_etl.iterable.diagnosis import diagnose
from reverse_etl.sandbox.testing import (
    DISABLED_KEY,
    EU_KEY,
    JWT_KEY,
    JWT_SECRET,
    READONLY_KEY,
    SERVER_KEY,
    SandboxServer,
)


@pytest.mark.parametrize(
    ("key", "secret", "works", "sentence"),
    [
        (SERVER_KEY, "", True, "Connected"),
        (JWT_KEY, JWT_SECRET, True, "Connected"),
        ("no-such-key", "", False, "Wrong key"),
        (READONLY_KEY, "", False, "disabled or lacks the privilege"),
        (DISABLED_KEY, "", False, "disabled or lacks the privilege"),
        (JWT_KEY, "another secret of more than 32 letters", False, "Wrong JWT secret"),
        (JWT_KEY, "", False, "Wrong JWT secret"),
    ],
)
async def test_what_is_wrong_with_the_key_is_told(
    sandbox: SandboxServer, key: str, secret: str, works: bool, sentence: str
) -> None:
    ok, message = await diagnose(IterableConnection(api_key=key, jwt_secret=secret, host=sandbox.url))
    assert ok is works
    assert sentence in message
    assert sandbox.users() == []


async def test_a_key_of_the_other_region_is_told_from_a_wrong_one(sandbox: SandboxServer) -> None:
    with SandboxServer(region="eu") as european:
        hosts = {Region.US: sandbox.url, Region.EU: european.url}
        assert await diagnose(IterableConnection(api_key=EU_KEY), hosts=hosts) == (
            False,
            "Wrong region: the key belongs to eu, the connection says us.",
        )
        assert (await diagnose(IterableConnection(api_key=EU_KEY, region=Region.EU), hosts=hosts))[0]
        ok, message = await diagnose(IterableConnection(api_key="no-such-key"), hosts=hosts)
        assert not ok
        assert message.startswith("Wrong key")


async def test_an_unreachable_host_is_told() -> None:
    ok, message = await diagnose(IterableConnection(api_key="key", host="http://127.0.0.1:9"))
    assert not ok
    assert message.startswith("Unreachable host")


@pytest.mark.parametrize(
    ("fault", "works", "sentence"),
    [
        ({"kind": "html", "status": 404}, False, "Wrong host"),
        ({"kind": "html", "status": 200}, False, "not as Iterable does"),
        ({"kind": "status", "status": 503}, False, "not as Iterable does"),
        ({"kind": "status", "status": 429}, True, "rate limit is used up"),
    ],
)
async def test_what_is_wrong_with_the_host_is_told(
    sandbox: SandboxServer, fault: dict[str, object], works: bool, sentence: str
) -> None:
    sandbox.faults([{"path": "/api/users/update", **fault}])
    ok, message = await diagnose(IterableConnection(api_key=SERVER_KEY, host=sandbox.url))
    assert ok is works
    assert sentence in message
