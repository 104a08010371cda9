"""What the environment may change about requests, against a real server that stands for platform and proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from reverse_etl.delivery.answers import Answer
from reverse_etl.delivery.transport import Transport
from reverse_etl.errors import ConnectionFailed, DestinationError
from tests.customerio.platform import Workspace, workspace

OURS = {"Authorization": "Bearer our-key"}


@dataclass(frozen=True)
class Elsewhere:
    """A place that is not taken for this machine, wherever its URL leads."""

    base_url: str
    account: str = "a" * 32
    is_loopback: bool = False
    requests_in_flight: int = 1


@pytest_asyncio.fixture
async def there() -> AsyncIterator[Workspace]:
    async with workspace() as started:
        yield started


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def post(place: Elsewhere) -> Answer:
    transport = Transport(place, Answer, lambda _answer: None, patience=1)
    await transport.open()
    try:
        return await transport.post("/v1/track", b"{}", OURS, 10)
    finally:
        await transport.close()


@pytest.mark.parametrize("entry", ["default", "machine 127.0.0.1"])
async def test_a_login_in_netrc_does_not_stand_against_the_key(
    there: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    (tmp_path / "netrc").write_text(f"{entry} login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert (await post(Elsewhere(there.url))).status == 200
    assert there.requests[0].headers["Authorization"] == OURS["Authorization"]


async def test_a_proxy_of_the_environment_is_used_with_its_login(
    there: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", there.url.replace("//", "//user:pass@"))
    await post(Elsewhere("http://platform.invalid"))
    [request] = there.requests
    assert request.host == "platform.invalid"
    assert request.headers["Proxy-Authorization"].startswith("Basic ")
    assert request.headers["Authorization"] == OURS["Authorization"]


async def test_a_host_that_needs_no_proxy_is_asked_itself(there: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert (await post(Elsewhere(there.url))).status == 200


@pytest.mark.parametrize(
    ("proxy", "code"), [("{there}", "proxy"), ("http://127.0.0.1:1", "proxy"), ("nonsense", "connection_lost")]
)
async def test_a_proxy_that_does_not_work_is_named(
    there: Workspace, monkeypatch: pytest.MonkeyPatch, proxy: str, code: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy.format(there=there.url))
    with pytest.raises(DestinationError) as lost:
        await post(Elsewhere("https://platform.invalid"))
    assert (type(lost.value), lost.value.code) == (ConnectionFailed, code)


async def test_a_client_is_opened_once_at_a_time(there: Workspace) -> None:
    transport = Transport(Elsewhere(there.url), Answer, lambda _answer: None, patience=1)
    for _ in range(2):
        await transport.open()
        with pytest.raises(RuntimeError, match="open already"):
            await transport.open()
        assert (await transport.post("/v1/track", b"{}", OURS, 10)).status == 200
        await transport.close()
